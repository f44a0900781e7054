// What is stored of K and V: rows, page summaries, and the choice of pages made from them.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/page_summary.h"
#include "kernels/attention_support.h"
#include "lychee/error.h"
#include "support/compare.h"
#include "support/simd_targets.h"
#include "tensor/buffer.h"

namespace lychee::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Param = std::tuple<int64_t, DType>;

class KvTest : public testing::TestWithParam<Param> {};

INSTANTIATE_TEST_SUITE_P(Dtypes, KvTest,
                         testing::Combine(testing::ValuesIn(test::simd_targets()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16)),
                         [](const auto& info) {
                           return test::simd_target_name(std::get<0>(info.param)) + '_' +
                                  std::string(dtype_info(std::get<1>(info.param)).name);
                         });

// Floats whose rounding is delicate in either 16-bit type, and random ones.
std::vector<float> delicate_values(int64_t count) {
  test::Random random;
  std::vector<float> values = random.normals(count);
  const float special[] = {0.0F,
                           -0.0F,
                           1e-8F,
                           -5.9e-8F,
                           3.1e-5F,
                           65504.0F,
                           65519.0F,
                           65520.0F,
                           1e30F,
                           3.4e38F,
                           1.0F + 0x1p-11F,
                           1.0F + 0x1.8p-10F,
                           1.0F + 0x1p-8F,
                           1.0F + 0x1.8p-7F,
                           0x1p-140F,
                           std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()};
  std::copy(std::begin(special), std::end(special), values.begin() + 40);
  for (size_t i = 100; i < values.size(); i += 2) {
    values[i] = std::bit_cast<float>(static_cast<uint32_t>(random.integer(0, 0x7f7fffff)));
  }
  return values;
}

TEST_P(KvTest, AppendRoundsToNearestAndWritesNothingElse) {
  const auto& [target, dtype] = GetParam();
  const test::SimdTargetScope scope(target);
  constexpr int kHeads = 3;
  constexpr int kDim = 24;
  constexpr int64_t kStride = kHeads * kDim + 5;
  const std::vector<float> k = delicate_values(70 * kStride);
  std::vector<float> v = k;
  std::reverse(v.begin(), v.end());
  for (const int num_tokens : {1, 70}) {
    test::Random random;
    test::Random same_random;
    PagedCache actual(dtype, kHeads, kDim, {130}, 8, random);
    PagedCache expected(dtype, kHeads, kDim, {130}, 8, same_random);
    KvAppendParams params{.num_tokens = num_tokens,
                          .num_kv_heads = kHeads,
                          .head_dim = kDim,
                          .first_position = 59,
                          .k = k.data(),
                          .v = v.data(),
                          .row_stride = kStride,
                          .page_table = actual.page_table(0),
                          .kv = actual.view()};
    cpu::kv_append(params);
    params.kv = expected.view();
    reference::kv_append(params);
    EXPECT_TRUE(actual.k_bytes() == expected.k_bytes());
    EXPECT_TRUE(actual.v_bytes() == expected.v_bytes());
  }
}

TEST_P(KvTest, AppendKeepsNan) {
  const auto& [target, dtype] = GetParam();
  const test::SimdTargetScope scope(target);
  test::Random random;
  PagedCache cache(dtype, 1, 8, {1}, 0, random);
  const std::vector<float> row(8, std::bit_cast<float>(0x7f800001U));
  cpu::kv_append({.num_tokens = 1,
                  .num_kv_heads = 1,
                  .head_dim = 8,
                  .first_position = 0,
                  .k = row.data(),
                  .v = row.data(),
                  .row_stride = 8,
                  .page_table = cache.page_table(0),
                  .kv = cache.view()});
  for (const auto* bytes : {&cache.k_bytes(), &cache.v_bytes()}) {
    const auto at = dtype_bytes(dtype, cache.page_table(0)[0] * cache.view().page_stride);
    const std::byte* stored = bytes->data() + at;
    float value = 0;
    if (dtype == DType::kF32) {
      value = std::bit_cast<float>(*reinterpret_cast<const uint32_t*>(stored));
    } else if (dtype == DType::kF16) {
      value = static_cast<float>(*reinterpret_cast<const f16*>(stored));
    } else {
      value = static_cast<float>(*reinterpret_cast<const bf16*>(stored));
    }
    EXPECT_TRUE(std::isnan(value));
  }
}

TEST_P(KvTest, SummaryIsMinAndMaxOfItsTokensAlone) {
  const auto& [target, dtype] = GetParam();
  const test::SimdTargetScope scope(target);
  for (const int64_t kv_len : {1, 16, 17, 53, 129}) {
    for (const int64_t first_page : {int64_t{0}, (kv_len - 1) / kBoundPageSize}) {
      test::Random random;
      PagedCache cache(dtype, 3, 40, {kv_len}, 8, random);
      const int64_t pages = (kv_len + kBoundPageSize - 1) / kBoundPageSize;
      std::vector<float> min(static_cast<size_t>((pages + 1) * 3 * 40), 77.0F);
      std::vector<float> max = min;
      std::vector<float> expected_min = min;
      std::vector<float> expected_max = min;
      PageSummaryParams params{.num_kv_heads = 3,
                               .head_dim = 40,
                               .first_page = first_page,
                               .kv_len = kv_len,
                               .page_table = cache.page_table(0),
                               .kv = cache.view(),
                               .k_min = min.data(),
                               .k_max = max.data()};
      cpu::page_summary(params);
      params.k_min = expected_min.data();
      params.k_max = expected_max.data();
      reference::page_summary(params);
      EXPECT_EQ(min, expected_min) << kv_len << " tokens from page " << first_page;
      EXPECT_EQ(max, expected_max) << kv_len << " tokens from page " << first_page;
    }
  }
}

struct BoundCase {
  int64_t kv_len;
  int budget, sink, recent;
};

std::vector<std::vector<int32_t>> run_page_bound(void (*page_bound)(const PageBoundParams&),
                                                 const BoundCase& c, const std::vector<float>& q,
                                                 const std::vector<float>& k_min,
                                                 const std::vector<float>& k_max) {
  constexpr int kHeads = 3;
  const int64_t stride = std::min(c.kv_len, page_bound_max_selected(c.budget, c.sink, c.recent));
  std::vector<int32_t> ids(static_cast<size_t>(kHeads * stride + 1),
                           std::numeric_limits<int32_t>::max());
  std::vector<int32_t> num_ids(kHeads, -1);
  PageBoundParams params{.num_q_heads = 9,
                         .num_kv_heads = kHeads,
                         .head_dim = 24,
                         .kv_len = c.kv_len,
                         .q = q.data(),
                         .k_min = k_min.data(),
                         .k_max = k_max.data(),
                         .budget = c.budget,
                         .sink = c.sink,
                         .recent = c.recent,
                         .token_ids = ids.data(),
                         .token_ids_stride = stride,
                         .num_ids = num_ids.data(),
                         .workspace = nullptr};
  Buffer workspace(cpu::page_bound_workspace_bytes(params));
  params.workspace = workspace.data();
  page_bound(params);
  EXPECT_EQ(ids.back(), std::numeric_limits<int32_t>::max()) << "overflow";
  std::vector<std::vector<int32_t>> sets;
  for (int head = 0; head < kHeads; ++head) {
    const auto begin = ids.begin() + head * stride;
    sets.emplace_back(begin, begin + num_ids[static_cast<size_t>(head)]);
  }
  return sets;
}

TEST_P(KvTest, PageBoundPicksTheBestPages) {
  const auto& [target, dtype] = GetParam();
  const test::SimdTargetScope scope(target);
  const BoundCase cases[] = {{1, 16, 0, 1},      {53, 64, 5, 9},       {64, 63, 5, 9},
                             {500, 100, 17, 33}, {513, 384, 128, 256}, {700, 64, 0, 1},
                             {1000, 1000, 4, 4}, {1001, 1000, 4, 4},   {2000, 256, 100, 20}};
  for (const BoundCase& c : cases) {
    test::Random random;
    PagedCache cache(dtype, 3, 24, {c.kv_len}, 0, random);
    const std::vector<float> q = random.normals(9 * 24);
    const int64_t pages = (c.kv_len + kBoundPageSize - 1) / kBoundPageSize;
    std::vector<float> min(static_cast<size_t>(pages * 3 * 24), kNan);
    std::vector<float> max = min;
    reference::page_summary({.num_kv_heads = 3,
                             .head_dim = 24,
                             .first_page = 0,
                             .kv_len = c.kv_len,
                             .page_table = cache.page_table(0),
                             .kv = cache.view(),
                             .k_min = min.data(),
                             .k_max = max.data()});
    EXPECT_EQ(run_page_bound(&cpu::page_bound, c, q, min, max),
              run_page_bound(&reference::page_bound, c, q, min, max))
        << c.kv_len << " tokens, budget " << c.budget;
  }
}

TEST(PageBound, TiesGoToTheLowerPageAndNanRanksLast) {
  const BoundCase c{16 * 8, 48, 1, 1};
  const std::vector<float> q(9 * 24, 1.0F);
  std::vector<float> bounds(8 * 3 * 24, 0.0F);
  bounds[1 * 3 * 24] = kNan;  // page 1 of head 0
  const auto sets = run_page_bound(&cpu::page_bound, c, q, bounds, bounds);
  for (int head = 0; head < 3; ++head) {
    std::vector<int32_t> expected(48);
    std::iota(expected.begin(), expected.begin() + 16, 0);
    std::iota(expected.begin() + 16, expected.begin() + 32, head == 0 ? 32 : 16);
    std::iota(expected.begin() + 32, expected.end(), 112);
    EXPECT_EQ(sets[static_cast<size_t>(head)], expected) << "head " << head;
  }
}

TEST(KvCache, RefusesOtherDtypesAndHeadDims) {
  KvAppendParams params{};
  params.head_dim = 64;
  params.kv.dtype = DType::kQ8_0;
  EXPECT_THROW(cpu::kv_append(params), Error);
  params.kv.dtype = DType::kF16;
  params.head_dim = 20;
  EXPECT_THROW(cpu::kv_append(params), Error);
  HybridDecodeParams decode{};
  decode.head_dim = 12;
  EXPECT_THROW(cpu::hybrid_decode(decode), Error);
}

}  // namespace
}  // namespace lychee::attention
