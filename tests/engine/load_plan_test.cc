// What is refused before anything is loaded, and with which numbers.

#include "engine/load_plan.h"

#include <gtest/gtest.h>

#include "io/shape/shape_model.h"
#include "model/weights.h"
#include "support/expect_error.h"

namespace lychee::engine {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kGiB = int64_t{1} << 30;

constexpr int64_t kWeightBytes = 15317 * kMiB;

class LoadPlanTest : public testing::Test {
 protected:
  [[nodiscard]] LoadPlan plan(int64_t available, int64_t cache_tokens,
                              int64_t weight_bytes = kWeightBytes, int max_sequences = 0) const {
    EngineOptions options;
    options.max_cache_tokens = cache_tokens;
    options.max_sequences = max_sequences;
    return plan_loading(options, config_,
                        {.weight_bytes = weight_bytes,
                         .workspace_bytes = 1024 * kMiB,
                         .available_bytes = available});
  }

  io::ModelConfig config_ = io::shape_config("shape:llama3-8b");
};

TEST_F(LoadPlanTest, CacheTakesWhatIsLeftInWholePages) {
  const MemoryPlan memory = plan(80 * kGiB, 0).memory;
  EXPECT_EQ(memory.cache_bytes_per_token, 131072);
  // (81920 - 15317 - 1024 - 512) MiB of 8 MiB a page.
  EXPECT_EQ(memory.cache_tokens, 8133 * 64);
  EXPECT_LE(memory.total_bytes() + 512 * kMiB, memory.available_bytes);
  EXPECT_EQ(plan(80 * kGiB, 131073).memory.cache_tokens, 131136);
}

TEST_F(LoadPlanTest, SequencesTakeNoMoreThanTheirContext) {
  constexpr int64_t kContext = 131072;
  config_.context_length = kContext;
  const int64_t all = plan(200 * kGiB, 0).memory.cache_tokens;
  const int64_t two = plan(200 * kGiB, 0, kWeightBytes, 2).memory.cache_tokens;
  EXPECT_GE(two, 2 * (kContext + kContext / 16));
  EXPECT_LT(two, 2 * (kContext + kContext / 16) + 4 * 64);
  EXPECT_GT(all, 2 * two);
  // What does not fit, and what is asked for, counts first.
  EXPECT_EQ(plan(24 * kGiB, 0, kWeightBytes, 2).memory.cache_tokens,
            plan(24 * kGiB, 0).memory.cache_tokens);
  EXPECT_EQ(plan(200 * kGiB, 1 << 20, kWeightBytes, 1).memory.cache_tokens, 1 << 20);
}

TEST_F(LoadPlanTest, RefusesWithTheNumbersAndWhatWouldFit) {
  test::expect_error(ErrorCode::kOutOfMemory, "15317 MiB", [&] { (void)plan(16 * kGiB, 0); });
  test::expect_error(ErrorCode::kOutOfMemory, "--weights int8", [&] { (void)plan(16 * kGiB, 0); });
  test::expect_error(ErrorCode::kOutOfMemory, "131072 MiB",
                     [&] { (void)plan(80 * kGiB, 1 << 20); });
  test::expect_error(ErrorCode::kOutOfMemory, "at most 520512 tokens fit",
                     [&] { (void)plan(80 * kGiB, 1 << 20); });
}

TEST_F(LoadPlanTest, SmallerWeightsLeaveMore) {
  const std::optional<DType> int4 = cpu_weights(WeightFormat::kInt4);
  ASSERT_TRUE(int4.has_value());
  const int64_t bytes = model::weight_bytes(config_, *int4);
  EXPECT_LT(bytes, 6 * kGiB);
  EXPECT_GT(plan(16 * kGiB, 0, bytes).memory.cache_tokens, 70000);
}

TEST_F(LoadPlanTest, UnknownMemoryIsTakenOnTrust) {
  EXPECT_EQ(plan(0, 1 << 20).memory.cache_tokens, 1 << 20);
}

}  // namespace
}  // namespace lychee::engine
