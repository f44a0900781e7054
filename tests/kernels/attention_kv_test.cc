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
#include "tensor/buffer.h"

namespace lychee::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Param = std::tuple<Backend, DType>;

class KvTest : public testing::TestWithParam<Param> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KvTest);

std::string test_name(const testing::TestParamInfo<Param>& info) {
  return std::get<0>(info.param).name + '_' + std::string(dtype_info(std::get<1>(info.param)).name);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, KvTest,
                         testing::Combine(testing::ValuesIn(backends()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16)),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Fp8, KvTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF8E4M3)),
                         test_name);

void append(const Backend& backend, const KvAppendParams& params, PagedCache& cache) {
  if (!backend.cuda) {
    cpu::kv_append(params);
    return;
  }
  DeviceMirror mirror;
  KvAppendParams p = params;
  p.k = mirror.input(params.k, params.num_tokens * params.row_stride);
  p.v = mirror.input(params.v, params.num_tokens * params.row_stride);
  p.page_table = cache.page_tables_on(mirror);
  p.kv = cache.view_on(mirror);
  cuda::kv_append(p, mirror.stream());
  mirror.finish();
}

void summarize(const Backend& backend, const PageSummaryParams& params, PagedCache& cache) {
  if (!backend.cuda) {
    cpu::page_summary(params);
    return;
  }
  DeviceMirror mirror;
  PageSummaryParams p = params;
  const int64_t count = ((params.kv_len + kBoundPageSize - 1) / kBoundPageSize + 1) *
                        params.num_kv_heads * params.head_dim;
  p.page_table = cache.page_tables_on(mirror);
  p.kv = cache.view_on(mirror);
  p.k_min = mirror.output(params.k_min, count);
  p.k_max = mirror.output(params.k_max, count);
  cuda::page_summary(p, mirror.stream());
  // Once more, as a decode step does it: the last page alone, its length known to the device.
  p.device_kv_len = mirror.input(&params.kv_len, 1);
  p.kv_len = 0;
  cuda::page_summary(p, mirror.stream());
  mirror.finish();
}

void bound_pages_on_cpu(const PageBoundParams& params) {
  PageBoundParams p = params;
  Buffer workspace(cpu::page_bound_workspace_bytes(params));
  p.workspace = workspace.data();
  cpu::page_bound(p);
}

void bound_pages_on_cuda(const PageBoundParams& params) {
  DeviceMirror mirror;
  PageBoundParams p = params;
  const int64_t count =
      (params.kv_len + kBoundPageSize - 1) / kBoundPageSize * params.num_kv_heads * params.head_dim;
  p.q = mirror.input(params.q, int64_t{params.num_q_heads} * params.head_dim);
  p.k_min = mirror.input(params.k_min, count);
  p.k_max = mirror.input(params.k_max, count);
  // Of all these ids the test looks at the one after the last row, too.
  p.token_ids = mirror.output(params.token_ids, params.num_kv_heads * params.token_ids_stride + 1);
  p.num_ids = mirror.output(params.num_ids, params.num_kv_heads);
  p.device_kv_len = mirror.input(&params.kv_len, 1);
  p.kv_len = params.kv_len + 1000;  // room for more
  p.workspace = mirror.scratch(cuda::page_bound_workspace_bytes(p));
  cuda::page_bound(p, mirror.stream());
  mirror.finish();
}

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
  const auto& [backend, dtype] = GetParam();
  const BackendScope scope(backend);
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
    append(backend, params, actual);
    params.kv = expected.view();
    reference::kv_append(params);
    EXPECT_TRUE(actual.k_bytes() == expected.k_bytes());
    EXPECT_TRUE(actual.v_bytes() == expected.v_bytes());
  }
}

TEST_P(KvTest, AppendKeepsNan) {
  const auto& [backend, dtype] = GetParam();
  const BackendScope scope(backend);
  test::Random random;
  PagedCache cache(dtype, 1, 8, {1}, 0, random);
  const std::vector<float> row(8, std::bit_cast<float>(0x7f800001U));
  append(backend,
         {.num_tokens = 1,
          .num_kv_heads = 1,
          .head_dim = 8,
          .first_position = 0,
          .k = row.data(),
          .v = row.data(),
          .row_stride = 8,
          .page_table = cache.page_table(0),
          .kv = cache.view()},
         cache);
  for (const auto* bytes : {&cache.k_bytes(), &cache.v_bytes()}) {
    const auto at = dtype_bytes(dtype, cache.page_table(0)[0] * cache.view().page_stride);
    const std::byte* stored = bytes->data() + at;
    float value = 0;
    if (dtype == DType::kF32) {
      value = std::bit_cast<float>(*reinterpret_cast<const uint32_t*>(stored));
    } else if (dtype == DType::kF16) {
      value = static_cast<float>(*reinterpret_cast<const f16*>(stored));
    } else if (dtype == DType::kF8E4M3) {
      value = static_cast<float>(*reinterpret_cast<const f8e4m3*>(stored));
    } else {
      value = static_cast<float>(*reinterpret_cast<const bf16*>(stored));
    }
    EXPECT_TRUE(std::isnan(value));
  }
}

TEST_P(KvTest, DecodeRowsAppendAtTheirOwnEnd) {
  const auto& [backend, dtype] = GetParam();
  if (!backend.cuda) {
    return;  // the CPU's decode step appends row by row
  }
  test::Random random;
  test::Random same_random;
  const std::vector<int64_t> kv_lens = {1, 64, 130};
  PagedCache actual(dtype, 3, 24, kv_lens, 8, random);
  PagedCache expected(dtype, 3, 24, kv_lens, 8, same_random);
  const std::vector<float> k = delicate_values(3 * 80 + 40);
  KvAppendRowsParams params{.batch = 3,
                            .num_kv_heads = 3,
                            .head_dim = 24,
                            .k = k.data(),
                            .v = k.data() + 40,
                            .row_stride = 80,
                            .page_tables = expected.page_tables(),
                            .page_table_stride = expected.page_table_stride(),
                            .kv_lens = kv_lens.data(),
                            .kv = expected.view()};
  reference::kv_append_rows(params);
  DeviceMirror mirror;
  params.k = mirror.input(k.data(), static_cast<int64_t>(k.size()));
  params.v = params.k + 40;
  params.page_tables = actual.page_tables_on(mirror);
  params.kv_lens = mirror.input(kv_lens.data(), 3);
  params.kv = actual.view_on(mirror);
  cuda::kv_append_rows(params, mirror.stream());
  mirror.finish();
  EXPECT_TRUE(actual.k_bytes() == expected.k_bytes());
  EXPECT_TRUE(actual.v_bytes() == expected.v_bytes());
}

TEST_P(KvTest, SummaryIsMinAndMaxOfItsTokensAlone) {
  const auto& [backend, dtype] = GetParam();
  const BackendScope scope(backend);
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
      summarize(backend, params, cache);
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
  const auto& [backend, dtype] = GetParam();
  const BackendScope scope(backend);
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
    EXPECT_EQ(
        run_page_bound(backend.cuda ? &bound_pages_on_cuda : &bound_pages_on_cpu, c, q, min, max),
        run_page_bound(&reference::page_bound, c, q, min, max))
        << c.kv_len << " tokens, budget " << c.budget;
  }
}

TEST(PageBound, TiesGoToTheLowerPageAndNanRanksLast) {
  const BoundCase c{16 * 8, 48, 1, 1};
  const std::vector<float> q(9 * 24, 1.0F);
  std::vector<float> bounds(8 * 3 * 24, 0.0F);
  bounds[1 * 3 * 24] = kNan;  // page 1 of head 0
  for (const Backend& backend : backends()) {
    const BackendScope scope(backend);
    const auto sets = run_page_bound(backend.cuda ? &bound_pages_on_cuda : &bound_pages_on_cpu, c,
                                     q, bounds, bounds);
    for (int head = 0; head < 3; ++head) {
      std::vector<int32_t> expected(48);
      std::iota(expected.begin(), expected.begin() + 16, 0);
      std::iota(expected.begin() + 16, expected.begin() + 32, head == 0 ? 32 : 16);
      std::iota(expected.begin() + 32, expected.end(), 112);
      EXPECT_EQ(sets[static_cast<size_t>(head)], expected) << "head " << head;
    }
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
