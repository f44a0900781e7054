#include "bench/layer_mixture.h"

#include <gtest/gtest.h>

#include <memory>
#include <tuple>

#include "bench/attention_bench.h"
#include "support/expect_error.h"

namespace lychee::bench {
namespace {

constexpr int kLayers = 6;
constexpr int kHeads = 4;

// Layer 0 all retrieval; heads 1 and 2 retrieve in layer 3, head 0 in layer 4.
GenerationOptions options(Policy policy) {
  GenerationOptions options;
  options.policy = policy;
  if (policy_needs_plan(policy)) {
    auto plan = std::make_shared<HeadPlan>(kLayers, kHeads);
    for (int head = 0; head < kHeads; ++head) {
      plan->set_role(0, head, HeadRole::kRetrieval);
    }
    plan->set_role(3, 1, HeadRole::kRetrieval);
    plan->set_role(3, 2, HeadRole::kRetrieval);
    plan->set_role(4, 0, HeadRole::kRetrieval);
    options.head_plan = plan;
  }
  return options;
}

using Counts = std::tuple<int, int, int, int>;  // dense, selecting, reading, layers

std::vector<Counts> counts(Policy policy) {
  std::vector<Counts> found;
  for (const LayerMixture& m : layer_mixtures(options(policy), kLayers, kHeads)) {
    EXPECT_EQ(m.num_kv_heads(), kHeads);
    found.emplace_back(m.num_dense, m.num_select, m.num_read, m.num_layers);
  }
  return found;
}

TEST(LayerMixture, CountsWhatEveryPolicyDoes) {
  EXPECT_EQ(counts(Policy::kDense), (std::vector<Counts>{{4, 0, 0, 6}}));
  EXPECT_EQ(counts(Policy::kHybrid),
            (std::vector<Counts>{{0, 4, 0, 1}, {0, 0, 4, 3}, {0, 2, 2, 1}, {0, 1, 3, 1}}));
  EXPECT_EQ(counts(Policy::kDuo),
            (std::vector<Counts>{{4, 0, 0, 1}, {0, 0, 4, 3}, {2, 0, 2, 1}, {1, 0, 3, 1}}));
  EXPECT_EQ(counts(Policy::kLayerShared),
            (std::vector<Counts>{{4, 0, 0, 2}, {0, 4, 0, 2}, {0, 0, 4, 2}}));
  EXPECT_EQ(counts(Policy::kStreaming), (std::vector<Counts>{{0, 0, 4, 6}}));
  EXPECT_EQ(counts(Policy::kPageBound), (std::vector<Counts>{{0, 0, 4, 6}}));
}

TEST(LayerMixture, RefusesPlansOfOtherShapes) {
  test::expect_error(ErrorCode::kInvalidArgument, "the model has 7 layers",
                     [] { (void)layer_mixtures(options(Policy::kHybrid), 7, kHeads); });
  test::expect_error(ErrorCode::kInvalidArgument, "takes no head plan", [] {
    GenerationOptions streaming = options(Policy::kHybrid);
    streaming.policy = Policy::kStreaming;
    (void)layer_mixtures(streaming, kLayers, kHeads);
  });
}

AttentionCase small_case() {
  AttentionCase c;
  c.num_q_heads = 8;
  c.head_dim = 64;
  c.kv_dtype = DType::kF16;
  c.context = 1000;
  c.batch = 2;
  c.heads.num_dense = 1;
  c.heads.num_select = 1;
  c.heads.num_read = 2;
  c.selection.budget = 100;
  c.selection.sink = 10;
  c.selection.recent = 20;
  return c;
}

TEST(AttentionBench, BytesAreThoseOfTheHeadsThatRead) {
  AttentionBench bench(Device::kCpu, 1, 2, 7);
  EXPECT_EQ(bench.device(), "cpu");
  AttentionCase c = small_case();
  for (const SetKind sets : {SetKind::kOwn, SetKind::kShared, SetKind::kEnds}) {
    c.sets = sets;
    const Row row = bench.attention(c);
    EXPECT_EQ(row.bytes, 2 * 2 * 64 * 2 * (2 * 1000 + 2 * 100)) << static_cast<int>(sets);
    EXPECT_DOUBLE_EQ(row.kv_read, 2200.0 / 4000);
    EXPECT_EQ(row.num_retrieval, 2);
    EXPECT_GT(row.us.median, 0);
  }
  c.sets = SetKind::kPages;  // whole pages of 16; the last one of 1000 tokens has 8
  c.selection.budget = 96;
  const double tokens = bench.attention(c).bytes / (2 * 2 * 64);
  EXPECT_LE(tokens, 2 * (2 * 1000 + 2 * 96));
  EXPECT_GE(tokens, 2 * (2 * 1000 + 2 * 88));
}

TEST(AttentionBench, SelectionTakesWhatItsModeAsksFor) {
  AttentionBench bench(Device::kCpu, 1, 2, 7);
  AttentionCase c = small_case();
  const auto selected = [&](SelectMode mode) {
    c.selection.mode = mode;
    return bench.select(c).num_selected;
  };
  EXPECT_EQ(selected(SelectMode::kTopK), 100);
  c.selection.ratio = 0.25;
  EXPECT_EQ(selected(SelectMode::kRatio), 250);
  c.selection.budget = 900;  // at the length, every rule takes everything
  c.selection.mass = 0.5;
  const double half = selected(SelectMode::kMass);
  c.selection.mass = 0.99;
  const double most = selected(SelectMode::kMass);
  EXPECT_GE(half, 30);  // forced tokens
  EXPECT_GT(most, half);
  EXPECT_LT(most, 500);  // the softmax is as peaked as a real one
  c.selection.threshold = 0.01;
  const double few = selected(SelectMode::kThreshold);
  EXPECT_GT(few, 30);
  EXPECT_LT(few, most);
}

TEST(AttentionBench, EveryPolicyHasItsKindOfSet) {
  EXPECT_EQ(set_kind(Policy::kHybrid), SetKind::kOwn);
  EXPECT_EQ(set_kind(Policy::kLayerShared), SetKind::kShared);
  EXPECT_EQ(set_kind(Policy::kStreaming), SetKind::kEnds);
  EXPECT_EQ(set_kind(Policy::kDuo), SetKind::kEnds);
  EXPECT_EQ(set_kind(Policy::kPageBound), SetKind::kPages);
}

}  // namespace
}  // namespace lychee::bench
