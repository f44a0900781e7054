// Feeding prompts: callbacks, limits, what stays when they end early.

#include <gtest/gtest.h>

#include <cmath>

#include "engine/tiny_engine.h"
#include "support/expect_error.h"

namespace lychee::test {
namespace {

class PrefillTest : public testing::Test {
 protected:
  PrefillTest() : engine_(open()) {}

  Engine open() {
    EngineOptions options = tiny_.options();
    options.prefill_chunk = 10;
    return Engine(options);
  }
  Sequence prefilled(std::span<const int32_t> ids, const GenerationOptions& options = {}) {
    Sequence sequence = engine_.create_sequence(options);
    engine_.prefill(sequence, ids);
    return sequence;
  }

  TinyEngine tiny_;
  Engine engine_;
};

TEST_F(PrefillTest, ProgressCountsChunks) {
  Sequence sequence = engine_.create_sequence({});
  std::vector<std::pair<int64_t, int64_t>> seen;
  EXPECT_TRUE(engine_.prefill(sequence, tokens(25), [&](int64_t done, int64_t total) {
    seen.emplace_back(done, total);
    return true;
  }));
  EXPECT_EQ(seen, (std::vector<std::pair<int64_t, int64_t>>{{10, 25}, {20, 25}, {25, 25}}));
}

TEST_F(PrefillTest, StoppedPromptKeepsWhatWasRead) {
  const std::vector<int32_t> ids = tokens(150);
  Sequence sequence = engine_.create_sequence({});
  EXPECT_FALSE(engine_.prefill(sequence, ids, [](int64_t done, int64_t) { return done < 20; }));
  EXPECT_EQ(sequence.length(), 20);
  EXPECT_EQ(engine_.cache_tokens_in_use(), 64);  // pages for the rest went back
  EXPECT_EQ(logits_of(sequence), logits_of(prefilled(std::span(ids).first(20))));
  EXPECT_TRUE(engine_.prefill(sequence, std::span(ids).subspan(20)));
  EXPECT_EQ(logits_of(sequence), logits_of(prefilled(ids)));
  // Stopped by the last call: nothing was left to stop.
  Sequence whole = engine_.create_sequence({});
  EXPECT_TRUE(
      engine_.prefill(whole, ids, [](int64_t done, int64_t total) { return done < total; }));
  EXPECT_EQ(whole.length(), 150);
}

TEST_F(PrefillTest, LogitsComeForEveryPosition) {
  const std::vector<int32_t> ids = tokens(75);
  Sequence sequence = prefilled(std::span(ids).first(4));
  std::vector<int64_t> positions;
  std::vector<std::vector<float>> rows;
  engine_.prefill(sequence, std::span(ids).subspan(4), {},
                  [&](int64_t position, std::span<const float> logits) {
                    positions.push_back(position);
                    rows.emplace_back(logits.begin(), logits.end());
                  });
  ASSERT_EQ(positions.size(), 71U);
  for (size_t i = 0; i < positions.size(); ++i) {
    ASSERT_EQ(positions[i], static_cast<int64_t>(i) + 4);
    ASSERT_EQ(rows[i].size(), static_cast<size_t>(kVocab));
  }
  EXPECT_EQ(rows.back(), logits_of(sequence));
  for (const size_t length : {size_t{5}, size_t{14}, size_t{41}}) {
    const std::vector<float> expected = logits_of(prefilled(std::span(ids).first(length)));
    for (size_t id = 0; id < expected.size(); ++id) {
      ASSERT_NEAR(rows[length - 5][id], expected[id], 1e-4) << "position " << length - 1;
    }
  }
}

TEST_F(PrefillTest, NothingToFeedChangesNothing) {
  Sequence sequence = engine_.create_sequence({});
  EXPECT_TRUE(engine_.prefill(sequence, {}));
  EXPECT_EQ(sequence.length(), 0);
  EXPECT_TRUE(sequence.logits().empty());
  expect_error(ErrorCode::kInvalidArgument, "no logits",
               [&] { static_cast<void>(engine_.sample(sequence)); });
  expect_error(ErrorCode::kInvalidArgument, "token id 0",
               [&] { static_cast<void>(sequence.log_prob(0)); });
}

TEST_F(PrefillTest, ContextIsTheLimit) {
  Sequence sequence = prefilled(tokens(kContext));
  expect_error(ErrorCode::kInvalidArgument, "257 tokens is longer than the model's context of 256",
               [&] { engine_.decode(sequence, 5); });
  EXPECT_EQ(sequence.length(), kContext);
  Sequence other = prefilled(tokens(200));
  expect_error(ErrorCode::kInvalidArgument, "257", [&] { engine_.prefill(other, tokens(57)); });
  EXPECT_EQ(other.length(), 200);
  EXPECT_TRUE(engine_.prefill(other, tokens(56)));
}

TEST_F(PrefillTest, IdsMustBeInTheVocabulary) {
  Sequence sequence = prefilled(tokens(5));
  const std::vector<float> before = logits_of(sequence);
  for (const int32_t bad : {-1, kVocab, std::numeric_limits<int32_t>::max()}) {
    const std::vector<int32_t> ids = {1, bad};
    expect_error(ErrorCode::kInvalidArgument,
                 "token id " + std::to_string(bad) + " is outside the model's vocabulary of 96",
                 [&] { engine_.prefill(sequence, ids); });
    expect_error(ErrorCode::kInvalidArgument, "vocabulary of 96",
                 [&] { engine_.decode(sequence, bad); });
  }
  EXPECT_EQ(sequence.length(), 5);
  EXPECT_EQ(logits_of(sequence), before);
}

TEST_F(PrefillTest, BatchesMustMatchTheirTokens) {
  Sequence sequence = prefilled(tokens(5));
  const std::vector<Sequence*> batch = {&sequence};
  expect_error(ErrorCode::kInvalidArgument, "1 sequences got 0 tokens",
               [&] { engine_.decode(batch, {}); });
  engine_.decode({}, {});
}

TEST_F(PrefillTest, TruncationIsWithinTheSequence) {
  Sequence sequence = prefilled(tokens(5));
  for (const int64_t bad : {int64_t{-1}, int64_t{6}}) {
    expect_error(ErrorCode::kInvalidArgument, "sequence of 5 tokens to " + std::to_string(bad),
                 [&] { engine_.truncate(sequence, bad); });
  }
  const std::vector<float> before = logits_of(sequence);
  engine_.truncate(sequence, 5);
  EXPECT_EQ(logits_of(sequence), before);  // nothing was dropped
  engine_.truncate(sequence, 3);
  EXPECT_TRUE(sequence.logits().empty());
  EXPECT_EQ(sequence.token_ids().size(), 3U);
}

TEST_F(PrefillTest, LogProbsAreNormalisedAndOrdered) {
  const Sequence sequence = prefilled(tokens(20));
  double sum = 0;
  for (int32_t id = 0; id < kVocab; ++id) {
    sum += std::exp(sequence.log_prob(id));
  }
  EXPECT_NEAR(sum, 1, 1e-9);
  const auto top = sequence.top_log_probs(5);
  ASSERT_EQ(top.size(), 5U);
  for (size_t i = 0; i < top.size(); ++i) {
    EXPECT_NEAR(top[i].second, sequence.log_prob(top[i].first), 1e-12);
    EXPECT_TRUE(i == 0 || top[i - 1].second > top[i].second);
  }
  EXPECT_EQ(sequence.top_log_probs(0).size(), 0U);
  EXPECT_EQ(sequence.top_log_probs(-3).size(), 0U);
  EXPECT_EQ(sequence.top_log_probs(1000).size(), static_cast<size_t>(kVocab));
  expect_error(ErrorCode::kInvalidArgument, "token id 96",
               [&] { static_cast<void>(sequence.log_prob(kVocab)); });
}

TEST_F(PrefillTest, RecallIsAShareThatGrowsToOne) {
  double previous = 0;
  for (const int budget : {24, 60, 100}) {
    std::vector<HeadRecall> seen;
    GenerationOptions options = small_hybrid();
    options.selection.budget = budget;
    options.recall_observer = [&](const HeadRecall& recall) { seen.push_back(recall); };
    Sequence sequence = prefilled(tokens(100), options);
    EXPECT_TRUE(seen.empty());
    engine_.decode(sequence, 5);
    ASSERT_EQ(seen.size(), 3U) << "layer 1 head 0, layer 2 both";
    double sum = 0;
    for (const HeadRecall& recall : seen) {
      EXPECT_EQ(recall.position, 100);
      EXPECT_EQ(recall.num_ids, budget);
      EXPECT_GT(recall.recall, 0);
      EXPECT_LE(recall.recall, 1 + 1e-6);
      sum += recall.recall;
    }
    EXPECT_GT(sum, previous);
    previous = sum;
  }
  EXPECT_GT(previous, 2.9);  // all but one token
}

// With a budget for all tokens the step is dense: no head reads less, none is observed.
TEST_F(PrefillTest, DenseStepsHaveNoRecall) {
  GenerationOptions options = small_hybrid();
  options.selection.budget = 101;
  int calls = 0;
  options.recall_observer = [&](const HeadRecall&) { ++calls; };
  Sequence sequence = prefilled(tokens(100), options);
  engine_.decode(sequence, 5);
  EXPECT_EQ(calls, 0);
  engine_.decode(sequence, 5);
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace lychee::test
