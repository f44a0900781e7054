// What a decode step on the device will launch and read, worked out on the host.

#include "model/cuda_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

namespace lychee::model {
namespace {

constexpr int kLayers = 4;
constexpr int kHeads = 2;
constexpr int32_t kDense = -1;

class CudaStepTest : public testing::Test {
 protected:
  CudaStepTest() {
    config_.num_layers = kLayers;
    config_.num_kv_heads = kHeads;
  }

  // A row whose kv_len is `kv_len`.
  DecodeRow row(int64_t kv_len, GenerationOptions options) {
    options.selection.sink = 4;
    options.selection.recent = 8;
    policies_.emplace_back(options, kLayers, kHeads);
    DecodeRow row;
    row.position = kv_len - 1;
    row.policy = &policies_.back();
    return row;
  }
  // Layer 0 retrieves; head 1 retrieves again in layer 2.
  static GenerationOptions hybrid(int budget = 64) {
    auto plan = std::make_shared<HeadPlan>(kLayers, kHeads);
    plan->set_role(0, 0, HeadRole::kRetrieval);
    plan->set_role(0, 1, HeadRole::kRetrieval);
    plan->set_role(2, 1, HeadRole::kRetrieval);
    GenerationOptions options;
    options.policy = Policy::kHybrid;
    options.head_plan = plan;
    options.selection.budget = budget;
    return options;
  }
  static GenerationOptions of(Policy policy, std::vector<int> layers = {}) {
    GenerationOptions options;
    options.policy = policy;
    options.selection.budget = 64;
    options.selecting_layers = std::move(layers);
    return options;
  }

  io::ModelConfig config_;
  std::deque<AttentionPolicy> policies_;
};

TEST_F(CudaStepTest, HeadsCarryTheirOwnSets) {
  const DecodeRow rows[] = {row(100, of(Policy::kDense)), row(3000, hybrid())};
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  EXPECT_EQ(plan.shape.max_kv_len, 4096);
  EXPECT_EQ(plan.shape.set_stride, 64);
  EXPECT_EQ(plan.tables.set_of_head,
            (std::vector<int32_t>{kDense, kDense, kDense, kDense, kDense, kDense, 2, 3,  //
                                  kDense, kDense, 2, kDense, kDense, kDense, 2, 3}));
  const std::vector<uint8_t> selecting{0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
  EXPECT_EQ(plan.tables.emit_scores, selecting);
  ASSERT_EQ(plan.tables.active.size(), 1U);
  EXPECT_EQ(plan.tables.active[0], selecting);
  EXPECT_EQ(plan.shape.groups[0].selects, (std::vector<bool>{true, false, true, false}));
  EXPECT_TRUE(plan.shape.selects_in(2));
  EXPECT_FALSE(plan.shape.selects_in(1));
}

TEST_F(CudaStepTest, StepsThatDifferInLengthAloneShareAGraph) {
  const auto shape = [&](int64_t kv_len, const GenerationOptions& options) {
    const DecodeRow rows[] = {row(kv_len, options)};
    return plan_cuda_step(rows, config_).shape;
  };
  EXPECT_EQ(shape(3000, hybrid()), shape(3001, hybrid()));
  EXPECT_EQ(shape(3000, hybrid()), shape(4096, hybrid()));
  EXPECT_FALSE(shape(3000, hybrid()) == shape(4097, hybrid()));
  EXPECT_FALSE(shape(3000, hybrid()) == shape(3000, of(Policy::kDense)));
  EXPECT_FALSE(shape(3000, hybrid()) == shape(3000, hybrid(128)));
  // Below the budget and below the crossover a step is a dense one.
  EXPECT_EQ(shape(64, hybrid()), shape(64, of(Policy::kDense)));
  GenerationOptions late = hybrid();
  late.dense_below = 3000;
  EXPECT_EQ(shape(3000, late), shape(3000, of(Policy::kDense)));
}

TEST_F(CudaStepTest, SharedSetsAreThoseOfHeadZero) {
  const DecodeRow rows[] = {row(500, of(Policy::kLayerShared, {1})),
                            row(500, of(Policy::kStreaming))};
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  const auto set = [&](int layer, size_t row, int head) {
    return plan.tables
        .set_of_head[(static_cast<size_t>(layer) * 2 + row) * kHeads + static_cast<size_t>(head)];
  };
  EXPECT_EQ(set(2, 0, 1), 0);
  EXPECT_EQ(set(0, 0, 1), kDense);
  EXPECT_EQ(set(0, 1, 1), 2);
  ASSERT_EQ(plan.shape.sums.size(), 1U);
  EXPECT_EQ(plan.shape.sums[0].layers, (std::vector<bool>{false, true, false, false}));
  ASSERT_EQ(plan.shape.streaming.size(), 1U);
  EXPECT_EQ(plan.shape.streaming[0].row, 1);
  // Both heads emit scores, one of them selects for both.
  EXPECT_EQ(plan.tables.emit_scores[4], 1);
  EXPECT_EQ(plan.tables.emit_scores[5], 1);
  EXPECT_EQ(plan.tables.active[0][4], 1);
  EXPECT_EQ(plan.tables.active[0][5], 0);
}

TEST_F(CudaStepTest, OneGroupPerSelection) {
  GenerationOptions mass = hybrid();
  mass.selection.mode = SelectMode::kMass;
  const DecodeRow rows[] = {row(500, hybrid()), row(600, hybrid()), row(700, mass)};
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  ASSERT_EQ(plan.shape.groups.size(), 2U);
  EXPECT_EQ(plan.tables.active[0], (std::vector<uint8_t>{1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0,  //
                                                         0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_TRUE(plan.shape.counts_ids());
}

TEST_F(CudaStepTest, CountsWhatIsRead) {
  GenerationOptions block = hybrid(192);
  block.selection.mode = SelectMode::kBlock;
  const DecodeRow rows[] = {row(1000, hybrid()), row(1000, block)};
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  // Three retrieval heads of eight.
  EXPECT_EQ(tokens_read(rows, 0, plan, config_, nullptr), 3 * 1000 + 5 * 64);
  // 1000 = 15 · 64 + 40: the last of the three blocks holds 40.
  EXPECT_EQ(tokens_read(rows, 1, plan, config_, nullptr), 3 * 1000 + 5 * (128 + 40));
  const std::vector<int32_t> sizes(kLayers * 2 * kHeads, 7);
  EXPECT_EQ(tokens_read(rows, 0, plan, config_, sizes.data()), 3 * 1000 + 5 * 7);
}

TEST_F(CudaStepTest, RowsThatRankPagesAlikeShareALaunch) {
  GenerationOptions wide = of(Policy::kPageBound);
  wide.selection.budget = 96;
  const DecodeRow rows[] = {row(1000, of(Policy::kPageBound)), row(1000, of(Policy::kDense)),
                            row(1000, wide), row(990, of(Policy::kPageBound)),
                            row(60, of(Policy::kPageBound))};
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  ASSERT_EQ(plan.shape.page_bound.size(), 2U);
  EXPECT_EQ(plan.shape.page_bound[0].budget, 64);
  EXPECT_EQ(plan.shape.page_bound[1].budget, 96);
  using Table = std::vector<uint8_t>;
  // The last row is within its budget, so it is a dense one.
  EXPECT_EQ(plan.tables.ranks_pages, (std::vector<Table>{{1, 1, 0, 0, 0, 0, 1, 1, 0, 0},
                                                         {0, 0, 0, 0, 1, 1, 0, 0, 0, 0},
                                                         {1, 1, 0, 0, 1, 1, 1, 1, 0, 0}}));
  EXPECT_EQ(plan.shape.set_stride, 96);
  EXPECT_TRUE(plan.shape.groups.empty());
  for (int layer = 0; layer < kLayers; ++layer) {
    const auto first = plan.tables.set_of_head.begin() + layer * 10;
    EXPECT_EQ(std::vector<int32_t>(first, first + 10),
              (std::vector<int32_t>{0, 1, kDense, kDense, 4, 5, 6, 7, kDense, kDense}));
  }
  // Four pages of 16, the last of which holds 1000 - 62 · 16 = 8; and 63 summaries.
  EXPECT_EQ(tokens_read(rows, 0, plan, config_, nullptr), 8 * (3 * 16 + 8 + 63));
  EXPECT_EQ(tokens_read(rows, 2, plan, config_, nullptr), 8 * (5 * 16 + 8 + 63));
  EXPECT_EQ(tokens_read(rows, 4, plan, config_, nullptr), 8 * 60);
}

TEST_F(CudaStepTest, ObservedRowsReportWhatTheirSetsCover) {
  config_.num_q_heads = 2 * kHeads;
  std::vector<HeadRecall> seen;
  const std::function<void(const HeadRecall&)> observer = [&](const HeadRecall& recall) {
    seen.push_back(recall);
  };
  DecodeRow rows[] = {row(1000, hybrid()), row(900, hybrid()), row(60, hybrid())};
  rows[1].recall_observer = &observer;
  rows[2].recall_observer = &observer;
  const CudaStepPlan plan = plan_cuda_step(rows, config_);
  EXPECT_TRUE(plan.shape.observes_recall);
  EXPECT_TRUE(plan.shape.counts_ids());
  constexpr size_t kSets = kLayers * 3 * kHeads;
  std::vector<float> set_lse(2 * kSets, std::numeric_limits<float>::quiet_NaN());
  std::vector<float> dense_lse(2 * kSets, 5);
  std::vector<int32_t> num_ids(kSets, -1);
  for (size_t layer = 0; layer < kLayers; ++layer) {
    const size_t set = layer * 3 * kHeads + kHeads;  // of row 1, head 0
    num_ids[set] = 64 - static_cast<int32_t>(layer);
    set_lse[2 * set] = 5 + std::log(0.5F);
    set_lse[2 * set + 1] = 5 + std::log(0.25F);
    num_ids[set + 1] = 10;
    set_lse[2 * set + 2] = set_lse[2 * set + 3] = 5;
  }
  report_recall(rows, plan, config_, set_lse.data(), dense_lse.data(), num_ids.data());
  // Head 0 is sparse in layers 1 to 3, head 1 in layers 1 and 3; row 2 runs dense.
  ASSERT_EQ(seen.size(), 5U);
  const int layers[] = {1, 1, 2, 3, 3};
  const int heads[] = {0, 1, 0, 0, 1};
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].layer, layers[i]);
    EXPECT_EQ(seen[i].kv_head, heads[i]);
    EXPECT_EQ(seen[i].position, 899);
    EXPECT_NEAR(seen[i].recall, heads[i] == 0 ? 0.375 : 1, 1e-6);
    EXPECT_EQ(seen[i].num_ids, heads[i] == 0 ? 64 - layers[i] : 10);
  }
  rows[1].recall_observer = nullptr;
  EXPECT_FALSE(plan_cuda_step(rows, config_).shape.observes_recall);
}

}  // namespace
}  // namespace lychee::model
