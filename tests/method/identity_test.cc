// Identities of algorithm.md, section 5: budget, roles, correction, automatic dense, recall.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "method/runs.h"

namespace lychee::test {
namespace {

// Two paths over the same tokens sum in different orders; nothing else may differ.
constexpr double kSummation = 2e-5;
// What another token set changes at least, so that an identity is seen to be one.
constexpr double kDifferent = 1e-3;

constexpr Policy kPolicies[] = {Policy::kHybrid, Policy::kLayerShared, Policy::kStreaming,
                                Policy::kDuo, Policy::kPageBound};
constexpr SelectMode kModes[] = {SelectMode::kTopK, SelectMode::kBlock, SelectMode::kRatio,
                                 SelectMode::kMass, SelectMode::kThreshold};
constexpr const char* kModels[] = {"llama", "llama_dynamic", "qwen3"};

class IdentityTest : public testing::TestWithParam<const char*> {
 protected:
  IdentityTest() : subject_(GetParam()) {}

  LogProbs run(const GenerationOptions& options, int64_t prompt, int64_t steps, uint32_t seed = 7) {
    return test::run(subject_.engine, options, subject_.tokens(prompt + steps, seed), prompt);
  }

  Subject subject_;
};

TEST_P(IdentityTest, BudgetOfEverythingIsDense) {
  for (const int64_t prompt : {int64_t{1}, int64_t{63}, int64_t{200}}) {
    const int64_t steps = 6;
    const LogProbs dense = run({}, prompt, steps);
    for (const Policy policy : kPolicies) {
      for (const SelectMode mode : kModes) {
        GenerationOptions options = small_options(policy, mode, subject_);
        options.selection.budget = 256;
        options.selection.ratio = 1;
        EXPECT_LE(worst_difference(run(options, prompt, steps), dense), kSummation)
            << policy_name(policy) << " " << select_mode_name(mode) << " prompt " << prompt;
      }
    }
  }
}

TEST_P(IdentityTest, OneTokenBeyondTheBudgetIsNotDense) {
  const int64_t prompt = 90;
  const LogProbs dense = run({}, prompt, 2);
  for (const Policy policy : kPolicies) {
    GenerationOptions options = small_options(policy, SelectMode::kTopK, subject_);
    options.selection.budget = 91;
    const LogProbs rows = run(options, prompt, 2);
    EXPECT_LE(worst_difference({rows[0]}, {dense[0]}), kSummation) << policy_name(policy);
    EXPECT_GT(worst_difference({rows[1]}, {dense[1]}), 0) << policy_name(policy);
  }
}

TEST_P(IdentityTest, AllRetrievalIsDense) {
  for (const int64_t prompt : {int64_t{77}, int64_t{300}}) {
    const LogProbs dense = run({}, prompt, 5);
    for (const SelectMode mode : kModes) {
      GenerationOptions options = small_options(Policy::kHybrid, mode, subject_);
      options.head_plan = subject_.all_retrieval();
      EXPECT_LE(worst_difference(run(options, prompt, 5), dense), kSummation)
          << select_mode_name(mode);
      options.policy = Policy::kDuo;
      EXPECT_LE(worst_difference(run(options, prompt, 5), dense), kSummation);
    }
    GenerationOptions mixed = small_options(Policy::kHybrid, SelectMode::kTopK, subject_);
    EXPECT_GT(worst_difference(run(mixed, prompt, 5), dense), kDifferent);
  }
}

TEST_P(IdentityTest, AutomaticDenseIsDenseUpToItsLength) {
  const int64_t prompt = 120;
  const LogProbs dense = run({}, prompt, 8);
  for (const Policy policy : kPolicies) {
    GenerationOptions options = small_options(policy, SelectMode::kTopK, subject_);
    options.dense_below = prompt + 5;
    Sequence sequence = subject_.engine.create_sequence(options);
    const std::vector<int32_t> tokens = subject_.tokens(prompt + 8, 7);
    subject_.engine.prefill(sequence, std::span(tokens).first(static_cast<size_t>(prompt)));
    for (size_t step = 0; step < 8; ++step) {
      subject_.engine.decode(sequence, tokens[static_cast<size_t>(prompt) + step]);
      const double difference = worst_difference({log_probs_of(sequence)}, {dense[step]});
      if (step < 5) {
        EXPECT_LE(difference, kSummation) << policy_name(policy) << " step " << step;
        EXPECT_EQ(sequence.stats().kv_read(), 1) << policy_name(policy) << " step " << step;
      } else {
        EXPECT_GT(difference, kDifferent) << policy_name(policy) << " step " << step;
      }
    }
    EXPECT_EQ(sequence.stats().dense_steps, 5) << policy_name(policy);
    EXPECT_EQ(sequence.stats().decode_steps, 8) << policy_name(policy);
  }
}

// After a correction K and V of every token are those of a dense pass, so its logits are dense's.
TEST_P(IdentityTest, CorrectedStepsAreDense) {
  if (*subject_.spec.rope != 0) {
    return;  // dynamic RoPE: a correction uses the frequencies of another length than dense steps
  }
  const int64_t prompt = 150;
  const int64_t steps = 13;
  const LogProbs dense = run({}, prompt, steps);
  for (const Policy policy : kPolicies) {
    for (const int period : {1, 2, 5}) {
      GenerationOptions options = small_options(policy, SelectMode::kTopK, subject_);
      options.cache_correction = period;
      const LogProbs rows = run(options, prompt, steps);
      for (size_t step = 0; step < rows.size(); ++step) {
        const double difference = worst_difference({rows[step]}, {dense[step]});
        if ((step + 1) % static_cast<size_t>(period) == 0) {
          EXPECT_LE(difference, kSummation)
              << policy_name(policy) << " period " << period << " step " << step;
        } else {
          EXPECT_GT(difference, kDifferent)
              << policy_name(policy) << " period " << period << " step " << step;
        }
      }
    }
  }
}

TEST_P(IdentityTest, CorrectionLeavesEarlierStepsAlone) {
  GenerationOptions options = small_options(Policy::kHybrid, SelectMode::kTopK, subject_);
  const LogProbs plain = run(options, 140, 9);
  options.cache_correction = 7;
  const LogProbs corrected = run(options, 140, 9);
  for (size_t step = 0; step < 6; ++step) {
    EXPECT_EQ(worst_difference({corrected[step]}, {plain[step]}), 0) << "step " << step;
  }
  EXPECT_GT(worst_difference({corrected[6]}, {plain[6]}), kDifferent);
  options.cache_correction = 10;
  EXPECT_EQ(worst_difference(run(options, 140, 9), plain), 0);
}

// Sets of a larger budget contain those of a smaller one where the scores are the same, in the
// layer above layer 0; further up the mean must still grow.
TEST_P(IdentityTest, RecallGrowsWithBudget) {
  using Key = std::pair<int64_t, int>;  // position, KV head
  std::map<Key, double> previous;
  double previous_mean = 0;
  for (const int budget : {22, 40, 80, 120, 200}) {
    GenerationOptions options = small_options(Policy::kHybrid, SelectMode::kTopK, subject_);
    options.head_plan =
        std::make_shared<HeadPlan>(subject_.spec.num_layers, subject_.spec.num_kv_heads);
    options.selection.budget = budget;
    std::map<Key, double> first_layer;
    double sum = 0;
    int count = 0;
    options.recall_observer = [&](const HeadRecall& recall) {
      EXPECT_GE(recall.layer, 1);
      EXPECT_EQ(recall.num_ids, std::min<int64_t>(budget, recall.position + 1));
      EXPECT_LE(recall.recall, 1 + 1e-6);
      if (recall.layer == 1 && recall.position == 200) {
        first_layer[{recall.position, recall.kv_head}] = recall.recall;
      }
      sum += recall.recall;
      ++count;
    };
    run(options, 200, 4);
    EXPECT_EQ(count, 4 * (subject_.spec.num_layers - 1) * subject_.spec.num_kv_heads);
    for (const auto& [key, recall] : previous) {
      EXPECT_GE(first_layer.at(key), recall - 1e-6) << "budget " << budget;
    }
    EXPECT_GE(sum / count, previous_mean - 0.02) << "budget " << budget;
    previous = first_layer;
    previous_mean = sum / count;
  }
  EXPECT_GT(previous_mean, 0.95);
}

TEST_P(IdentityTest, ObservedRecallMatchesReference) {
  GenerationOptions options = small_options(Policy::kHybrid, SelectMode::kTopK, subject_);
  ReferenceSequence reference(subject_.reference, options);
  std::vector<HeadRecall> observed;
  options.recall_observer = [&](const HeadRecall& recall) { observed.push_back(recall); };
  Sequence sequence = subject_.engine.create_sequence(options);
  const std::vector<int32_t> tokens = subject_.tokens(181, 3);
  const auto prompt = std::span(tokens).first(180);
  reference.prefill(prompt);
  reference.decode(tokens.back());
  subject_.engine.prefill(sequence, prompt);
  subject_.engine.decode(sequence, tokens.back());
  ASSERT_FALSE(observed.empty());
  for (const HeadRecall& recall : observed) {
    const auto& set =
        reference.sets()[static_cast<size_t>(recall.layer)][static_cast<size_t>(recall.kv_head)];
    ASSERT_TRUE(set.has_value());
    EXPECT_EQ(recall.num_ids, static_cast<int64_t>(set->size()));
    EXPECT_EQ(recall.position, 180);
    EXPECT_NEAR(recall.recall, reference.recall(recall.layer, recall.kv_head), 1e-4)
        << "layer " << recall.layer << " head " << recall.kv_head;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, IdentityTest, testing::ValuesIn(kModels),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lychee::test
