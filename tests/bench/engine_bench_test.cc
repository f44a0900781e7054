#include "bench/engine_bench.h"

#include <gmock/gmock.h>

#include <cmath>
#include <memory>
#include <vector>

#include "lychee/engine.h"
#include "support/expect_error.h"

namespace lychee::bench {
namespace {

using ::testing::Each;
using ::testing::Ge;

// 4 layers of 2 KV heads; f32 cache.
EngineOptions engine_options() {
  EngineOptions options;
  options.model = "builtin:needle";
  options.kv_dtype = KvDtype::kF32;
  options.max_cache_tokens = 4096;
  return options;
}

GenerationOptions dense() {
  GenerationOptions options;
  options.policy = Policy::kDense;
  return options;
}

GenerationOptions streaming(int budget) {
  GenerationOptions options;
  options.policy = Policy::kStreaming;
  options.selection = {.budget = budget, .sink = 4, .recent = 16};
  return options;
}

class NoiseTest : public ::testing::Test {
 protected:
  std::vector<float> logits_after_fill(int64_t length, uint64_t seed) {
    Sequence sequence = engine_.create_sequence(dense());
    engine_.fill_cache_with_noise(sequence, length, seed);
    EXPECT_EQ(sequence.length(), length);
    EXPECT_TRUE(sequence.logits().empty());
    engine_.decode(sequence, 1);
    return {sequence.logits().begin(), sequence.logits().end()};
  }

  Engine engine_{engine_options()};
};

TEST_F(NoiseTest, DecodesTheSameForTheSameSeed) {
  const std::vector<float> first = logits_after_fill(130, 3);
  EXPECT_EQ(first, logits_after_fill(130, 3));
  EXPECT_NE(first, logits_after_fill(130, 4));
  for (const float logit : first) {
    ASSERT_TRUE(std::isfinite(logit));
  }
}

TEST_F(NoiseTest, TokenIdsAreOfTheVocabulary) {
  Sequence sequence = engine_.create_sequence(dense());
  engine_.fill_cache_with_noise(sequence, 200, 0);
  EXPECT_THAT(sequence.token_ids(),
              Each(::testing::AllOf(Ge(0), ::testing::Lt(engine_.model().vocab_size))));
}

TEST_F(NoiseTest, GoesOnWhereASequenceEnds) {
  Sequence sequence = engine_.create_sequence(dense());
  const std::vector<int32_t> prompt = {3, 1, 2};
  engine_.prefill(sequence, prompt);
  Sequence past = engine_.fork(sequence);
  engine_.fill_cache_with_noise(sequence, 70, 5);
  EXPECT_EQ(sequence.length(), 70);
  EXPECT_EQ(std::vector<int32_t>(sequence.token_ids().begin(), sequence.token_ids().begin() + 3),
            prompt);
  // The fork's page is its own: noise in the other sequence leaves it as it was.
  engine_.decode(past, 4);
  Sequence again = engine_.create_sequence(dense());
  engine_.prefill(again, prompt);
  engine_.decode(again, 4);
  EXPECT_TRUE(std::ranges::equal(past.logits(), again.logits()));
}

TEST_F(NoiseTest, ReachesTheLastPositions) {
  // Streaming reads the first and the last positions alone.
  const auto decode = [&](uint64_t seed) {
    Sequence sequence = engine_.create_sequence(streaming(32));
    engine_.fill_cache_with_noise(sequence, 64, 9);
    engine_.fill_cache_with_noise(sequence, 300, seed);
    engine_.decode(sequence, 1);
    return std::vector<float>(sequence.logits().begin(), sequence.logits().end());
  };
  EXPECT_NE(decode(9), decode(10));
}

TEST_F(NoiseTest, InPiecesIsTheSame) {
  const auto decode = [&](std::initializer_list<int64_t> lengths) {
    Sequence sequence = engine_.create_sequence(dense());
    for (const int64_t length : lengths) {
      engine_.fill_cache_with_noise(sequence, length, 9);
    }
    engine_.decode(sequence, 1);
    return std::vector<float>(sequence.logits().begin(), sequence.logits().end());
  };
  EXPECT_EQ(decode({300}), decode({1, 77, 300}));
}

TEST_F(NoiseTest, RefusesToShortenAndToOverflow) {
  Sequence sequence = engine_.create_sequence(dense());
  engine_.fill_cache_with_noise(sequence, 65, 0);
  test::expect_error(ErrorCode::kInvalidArgument, "truncate",
                     [&] { engine_.fill_cache_with_noise(sequence, 64, 0); });
  test::expect_error(ErrorCode::kOutOfMemory, "does not fit",
                     [&] { engine_.fill_cache_with_noise(sequence, 5000, 0); });
  EXPECT_EQ(sequence.length(), 65);
}

class EngineBenchTest : public ::testing::Test {
 protected:
  Engine engine_{engine_options()};
  EngineBench bench_{engine_, 1, 2};
};

TEST_F(EngineBenchTest, DecodeCountsTheBytesOfAStep) {
  const ModelInfo& model = engine_.model();
  const double token_bytes = static_cast<double>(engine_.cache_bytes_per_token());
  const auto weights = static_cast<double>(model.weight_bytes_per_step);
  EXPECT_GT(weights, 0);
  EXPECT_LE(weights, static_cast<double>(model.weight_bytes));
  const GenerationOptions policies[] = {dense(), streaming(64)};
  const std::vector<Row> rows = bench_.decode(256, 3, policies);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_DOUBLE_EQ(rows[0].bytes, weights + 3 * 256 * token_bytes);
  EXPECT_DOUBLE_EQ(rows[1].bytes, weights + 3 * 64 * token_bytes);
  EXPECT_DOUBLE_EQ(rows[0].kv_read, 1);
  EXPECT_DOUBLE_EQ(rows[1].kv_read, 0.25);
  EXPECT_EQ(rows[1].policy, "streaming");
  EXPECT_EQ(rows[1].batch, 3);
  EXPECT_DOUBLE_EQ(rows[1].tokens_per_s, 3e6 / rows[1].us.median);
  EXPECT_EQ(engine_.cache_tokens_in_use(), 0);
}

TEST_F(EngineBenchTest, PageSummariesFitWhereTheyAreAskedFor) {
  EngineOptions options = engine_options();
  options.max_cache_tokens = EngineBench::cache_tokens(1100, 2, Policy::kPageBound);
  EXPECT_EQ(options.max_cache_tokens, 2 * 64 * (18 + 2 + 1));
  EXPECT_EQ(EngineBench::cache_tokens(1100, 2, Policy::kDense), 2 * 64 * (18 + 1));
  Engine engine(options);
  GenerationOptions policies[] = {dense(), streaming(512)};
  policies[1].policy = Policy::kPageBound;
  const std::vector<Row> rows = EngineBench(engine, 1, 2).decode(1100, 2, policies);
  // 32 pages of 16, the last of which holds 12, and 69 summaries.
  EXPECT_DOUBLE_EQ(rows[1].kv_read, (508.0 + 69) / 1100);
}

TEST_F(EngineBenchTest, ContextZeroIsOneToken) {
  const GenerationOptions policies[] = {dense()};
  const std::vector<Row> rows = bench_.decode(0, 1, policies);
  EXPECT_EQ(rows[0].context, 0);
  EXPECT_DOUBLE_EQ(rows[0].bytes, static_cast<double>(engine_.model().weight_bytes_per_step +
                                                      engine_.cache_bytes_per_token()));
}

TEST_F(EngineBenchTest, PrefillCountsTokensAndWork) {
  const Row row = bench_.prefill(100);
  EXPECT_EQ(row.tokens, 100);
  EXPECT_DOUBLE_EQ(row.tokens_per_s, 100e6 / row.us.median);
  EXPECT_GE(row.flop, 200.0 * static_cast<double>(engine_.model().layer_parameters));
  EXPECT_DOUBLE_EQ(row.bytes, static_cast<double>(engine_.model().weight_bytes_per_step));
}

TEST_F(EngineBenchTest, CrossoverLiesBetweenTheBudgetAndWhatFits) {
  const EngineBench::Crossover crossover = bench_.crossover(streaming(512));
  EXPECT_GE(crossover.dense_up_to, 512);
  EXPECT_LE(crossover.dense_up_to, engine_.cache_capacity());
  ASSERT_FALSE(crossover.rows.empty());
  EXPECT_EQ(crossover.rows.size() % 2, 0U);
  EXPECT_EQ(crossover.rows[0].context, 1024);
  EXPECT_EQ(crossover.rows[0].op, "crossover");
  EXPECT_LT(crossover.rows[1].kv_read, 1) << "must not run dense while it is measured";
}

TEST_F(EngineBenchTest, RefusesWhatItCannotMeasure) {
  const GenerationOptions policies[] = {dense()};
  test::expect_error(ErrorCode::kInvalidArgument, "context -1",
                     [&] { (void)bench_.decode(-1, 1, policies); });
  test::expect_error(ErrorCode::kInvalidArgument, "batch 0",
                     [&] { (void)bench_.decode(1, 0, policies); });
  test::expect_error(ErrorCode::kOutOfMemory, "does not fit",
                     [&] { (void)bench_.decode(4096, 2, policies); });
  test::expect_error(ErrorCode::kInvalidArgument, "at least 1 token",
                     [&] { (void)bench_.prefill(0); });
  test::expect_error(ErrorCode::kInvalidArgument, "hold against dense",
                     [&] { (void)bench_.crossover(dense()); });
  test::expect_error(ErrorCode::kInvalidArgument, "repeats 0", [&] { EngineBench(engine_, 0, 0); });
  GenerationOptions corrected[] = {streaming(64)};
  corrected[0].cache_correction = 8;
  test::expect_error(ErrorCode::kInvalidArgument, "correction",
                     [&] { (void)bench_.decode(100, 1, corrected); });
}

}  // namespace
}  // namespace lychee::bench
