// Identities of algorithm.md, section 5: ragged batches, pages, forks, chunks, turns.

#include <gtest/gtest.h>

#include <string>

#include "method/runs.h"

namespace lychee::test {
namespace {

constexpr double kSummation = 2e-5;  // chunks of another size sum in another order
constexpr double kDifferent = 1e-3;
constexpr const char* kModels[] = {"llama", "llama_dynamic", "qwen2", "qwen3_yarn"};
constexpr Policy kPolicies[] = {Policy::kDense,     Policy::kHybrid, Policy::kLayerShared,
                                Policy::kStreaming, Policy::kDuo,    Policy::kPageBound};

class SequenceTest : public testing::TestWithParam<const char*> {
 protected:
  SequenceTest() : subject_(GetParam()), engine_(subject_.engine) {}

  Sequence prefilled(const GenerationOptions& options, std::span<const int32_t> tokens) {
    Sequence sequence = engine_.create_sequence(options);
    engine_.prefill(sequence, tokens);
    return sequence;
  }
  GenerationOptions options(Policy policy, SelectMode mode = SelectMode::kTopK) const {
    return small_options(policy, mode, subject_);
  }
  [[nodiscard]] bool is_dynamic() const {
    return std::string(subject_.spec.name) == "llama_dynamic";
  }

  Subject subject_;
  Engine& engine_;
};

// Sequences of all policies, lengths from 1 on, in one batch: the bits of each alone.
TEST_P(SequenceTest, RaggedBatchIsEachAlone) {
  const std::vector<int64_t> lengths = {1, 63, 64, 65, 129, 200, 251, 17, 90, 300};
  const std::vector<SelectMode> modes = {SelectMode::kTopK, SelectMode::kBlock, SelectMode::kRatio,
                                         SelectMode::kMass, SelectMode::kThreshold};
  std::vector<LogProbs> alone;
  std::vector<Sequence> batch;
  std::vector<std::vector<int32_t>> answers;
  for (size_t i = 0; i < lengths.size(); ++i) {
    GenerationOptions chosen = options(kPolicies[i % 6], modes[i % 5]);
    chosen.cache_correction = i % 4 == 1 ? 3 : 0;
    chosen.dense_below = i % 3 == 2 ? lengths[i] + 2 : 0;
    const std::vector<int32_t> tokens = subject_.tokens(lengths[i] + 5, static_cast<uint32_t>(i));
    alone.push_back(run(engine_, chosen, tokens, lengths[i]));
    batch.push_back(prefilled(chosen, std::span(tokens).first(static_cast<size_t>(lengths[i]))));
    answers.emplace_back(tokens.end() - 5, tokens.end());
  }
  for (size_t step = 0; step < 5; ++step) {
    std::vector<Sequence*> rows;
    std::vector<int32_t> ids;
    for (size_t i = 0; i < batch.size(); ++i) {
      rows.push_back(&batch[i]);
      ids.push_back(answers[i][step]);
    }
    engine_.decode(rows, ids);
    for (size_t i = 0; i < batch.size(); ++i) {
      EXPECT_EQ(worst_difference({log_probs_of(batch[i])}, {alone[i][step]}), 0)
          << "sequence " << i << " step " << step;
    }
  }
}

// Pages handed out in order, interleaved with another sequence's, or used before: the same bits.
TEST_P(SequenceTest, PagesMayLieAnywhere) {
  const std::vector<int32_t> tokens = subject_.tokens(290, 1);
  const auto prompt = std::span(tokens).first(280);
  const auto answer = std::span(tokens).subspan(280);
  for (const Policy policy : kPolicies) {
    SCOPED_TRACE(policy_name(policy));
    const LogProbs fresh = run(engine_, options(policy), tokens, 280);
    const std::vector<int32_t> others = subject_.tokens(400, 2);
    Sequence first = prefilled({}, std::span(others).first(70));
    Sequence sequence = prefilled(options(policy), prompt);
    {
      Sequence dropped = prefilled({}, others);
      engine_.prefill(first, std::span(others).first(150));
    }
    Sequence reused = prefilled(options(policy), prompt);
    EXPECT_EQ(worst_difference(decode_all(engine_, sequence, answer), fresh), 0);
    EXPECT_EQ(worst_difference(decode_all(engine_, reused, answer), fresh), 0);
  }
}

TEST_P(SequenceTest, ForkIsFreshPrefill) {
  for (const int64_t length : {int64_t{1}, int64_t{64}, int64_t{135}, int64_t{250}}) {
    const std::vector<int32_t> prompt = subject_.tokens(length, 1);
    Sequence parent = prefilled({}, prompt);
    const std::vector<double> before = log_probs_of(parent);
    for (const Policy policy : kPolicies) {
      SCOPED_TRACE(std::string(policy_name(policy)) + " after " + std::to_string(length));
      Sequence a = engine_.fork(parent, options(policy));
      Sequence b = engine_.fork(parent, options(policy));
      EXPECT_EQ(worst_difference({log_probs_of(a)}, {before}), 0);
      std::vector<int32_t> tokens_a = prompt;
      std::vector<int32_t> tokens_b = prompt;
      for (const int32_t id : subject_.tokens(6, 8)) {
        tokens_a.push_back(id);
        tokens_b.push_back((id + 1) % subject_.spec.vocab_size);
      }
      const auto tail = [&](const std::vector<int32_t>& tokens) {
        return std::span(tokens).subspan(static_cast<size_t>(length));
      };
      // Each writes into the page that all three share.
      LogProbs rows_a = decode_all(engine_, a, tail(tokens_a).first(3));
      const LogProbs rows_b = decode_all(engine_, b, tail(tokens_b));
      for (auto& row : decode_all(engine_, a, tail(tokens_a).subspan(3))) {
        rows_a.push_back(row);
      }
      EXPECT_EQ(worst_difference(rows_a, run(engine_, options(policy), tokens_a, length)), 0);
      EXPECT_EQ(worst_difference(rows_b, run(engine_, options(policy), tokens_b, length)), 0);
      EXPECT_EQ(a.stats().decode_steps, 6);
    }
    EXPECT_EQ(parent.stats().decode_steps, 0);
    EXPECT_EQ(worst_difference({log_probs_of(parent)}, {before}), 0);
    std::vector<int32_t> tokens = prompt;
    tokens.push_back(5);
    EXPECT_EQ(worst_difference(decode_all(engine_, parent, std::span(tokens).last(1)),
                               run(engine_, {}, tokens, length)),
              0);
  }
}

// A correction overwrites K and V of tokens that a fork shares, here in two pages.
TEST_P(SequenceTest, CorrectionOfAForkIsItsOwn) {
  GenerationOptions chosen = options(Policy::kHybrid);
  chosen.cache_correction = 8;
  const std::vector<int32_t> tokens = subject_.tokens(136, 3);
  const std::vector<int32_t> others = subject_.tokens(8, 4);
  const LogProbs alone = run(engine_, chosen, tokens, 126);
  Sequence parent = prefilled(chosen, std::span(tokens).first(126));
  LogProbs rows = decode_all(engine_, parent, std::span(tokens).subspan(126, 3));
  GenerationOptions sooner = chosen;
  sooner.cache_correction = 4;
  Sequence child = engine_.fork(parent, sooner);
  EXPECT_EQ(decode_all(engine_, child, others).size(), others.size());
  EXPECT_EQ(child.stats().corrections, 2);
  for (auto& row : decode_all(engine_, parent, std::span(tokens).subspan(129))) {
    rows.push_back(row);
  }
  EXPECT_EQ(parent.stats().corrections, 1);
  EXPECT_EQ(worst_difference(rows, alone), 0);
}

TEST_P(SequenceTest, ChunksOfAPromptHaveNoEffect) {
  const std::vector<int32_t> tokens = subject_.tokens(206, 4);
  const LogProbs whole = run(engine_, options(Policy::kHybrid), tokens, 201);
  for (const int chunk : {1, 7, 64, 200}) {
    Engine chunked = subject_.open(chunk);
    EXPECT_LE(worst_difference(run(chunked, options(Policy::kHybrid), tokens, 201), whole),
              kSummation)
        << "chunk " << chunk;
  }
}

// A prompt fed in several calls; dynamic RoPE sees another length in each, so it is left out.
TEST_P(SequenceTest, CallsOfAPromptHaveNoEffect) {
  if (is_dynamic()) {
    return;
  }
  const std::vector<int32_t> tokens = subject_.tokens(206, 4);
  for (const Policy policy : kPolicies) {
    const LogProbs whole = run(engine_, options(policy), tokens, 201);
    for (const size_t part : {size_t{1}, size_t{77}, size_t{200}}) {
      Sequence sequence = prefilled(options(policy), std::span(tokens).first(part));
      engine_.prefill(sequence, std::span(tokens).subspan(part, 201 - part));
      EXPECT_LE(
          worst_difference(decode_all(engine_, sequence, std::span(tokens).subspan(201)), whole),
          kSummation)
          << policy_name(policy) << " part " << part;
    }
  }
}

// The last chunk of a prompt may be one token long: still a prompt, so still dense.
TEST_P(SequenceTest, TailOfOneTokenIsDense) {
  const std::vector<int32_t> tokens = subject_.tokens(200, 5);
  const auto head = std::span(tokens).first(199);
  Sequence whole = prefilled({}, tokens);
  for (const Policy policy : kPolicies) {
    Sequence tail = prefilled(options(policy), head);
    engine_.prefill(tail, std::span(tokens).last(1));
    EXPECT_EQ(tail.stats().decode_steps, 0);
    Sequence step = prefilled(options(policy), head);
    engine_.decode(step, tokens.back());
    EXPECT_EQ(step.stats().decode_steps, 1);
    if (is_dynamic()) {
      Sequence dense = prefilled({}, head);
      engine_.decode(dense, tokens.back());
      EXPECT_LE(worst_difference({log_probs_of(tail)}, {log_probs_of(dense)}), kSummation);
    } else {
      EXPECT_LE(worst_difference({log_probs_of(tail)}, {log_probs_of(whole)}), kSummation)
          << policy_name(policy);
    }
    // The layer-shared policy has no sparse layer among three.
    const bool all_dense = policy == Policy::kDense ||
                           (policy == Policy::kLayerShared && subject_.spec.num_layers <= 3);
    if (!all_dense) {
      EXPECT_GT(worst_difference({log_probs_of(step)}, {log_probs_of(tail)}), kDifferent)
          << policy_name(policy);
    }
  }
}

// Prompt, answer, prompt, answer: what a conversation does.
TEST_P(SequenceTest, TurnsMatchReference) {
  for (const Policy policy : kPolicies) {
    bool compared = false;
    for (uint32_t seed = 0; seed < 40 && !compared; ++seed) {
      const std::vector<int32_t> tokens = subject_.tokens(170, seed);
      GenerationOptions chosen = options(policy);
      chosen.cache_correction = policy == Policy::kDuo ? 3 : 0;
      ReferenceSequence reference(subject_.reference, chosen);
      Sequence sequence = engine_.create_sequence(chosen);
      LogProbs expected;
      LogProbs actual;
      size_t at = 0;
      for (const size_t prompt : {size_t{100}, size_t{1}, size_t{50}}) {
        reference.prefill(std::span(tokens).subspan(at, prompt));
        engine_.prefill(sequence, std::span(tokens).subspan(at, prompt));
        at += prompt;
        for (size_t step = 0; step < 4; ++step, ++at) {
          expected.push_back(reference.decode(tokens[at]));
          engine_.decode(sequence, tokens[at]);
          actual.push_back(log_probs_of(sequence));
        }
      }
      if (reference.smallest_gap() >= 1e-5) {
        compared = true;
        EXPECT_LE(worst_difference(actual, expected), 1e-4) << policy_name(policy);
        EXPECT_NEAR(sequence.stats().kv_read(), reference.stats().kv_read(), 1e-12);
      }
    }
    EXPECT_TRUE(compared) << policy_name(policy);
  }
}

TEST_P(SequenceTest, TruncatedIsNeverFed) {
  const std::vector<int32_t> tokens = subject_.tokens(190, 6);
  const std::vector<int32_t> others = subject_.tokens(60, 9);
  for (const Policy policy : kPolicies) {
    // The next token completes a bound page. Long enough for what was dropped to leave the recent
    // tokens, and have room in the budget.
    GenerationOptions chosen = options(policy);
    chosen.selection.budget = 96;
    const LogProbs fresh = run(engine_, chosen, tokens, 143);
    Sequence sequence = prefilled(chosen, std::span(tokens).first(143));
    EXPECT_EQ(decode_all(engine_, sequence, others).size(), others.size());
    engine_.truncate(sequence, 143);
    EXPECT_EQ(sequence.length(), 143);
    EXPECT_TRUE(sequence.logits().empty());
    EXPECT_EQ(
        worst_difference(decode_all(engine_, sequence, std::span(tokens).subspan(143)), fresh), 0)
        << policy_name(policy);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SequenceTest, testing::ValuesIn(kModels),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lychee::test
