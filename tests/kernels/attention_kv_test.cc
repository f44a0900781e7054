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
#include "kernels/attention/paged_kv.h"
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
  test::DeviceMirror mirror;
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
  test::DeviceMirror mirror;
  PageSummaryParams p = params;
  p.page_table = cache.page_tables_on(mirror);
  p.summary_table = p.page_table + cache.page_table_stride();
  p.kv = cache.view_on(mirror);
  cuda::page_summary(p, mirror.stream());
  mirror.finish();
}

void bound_pages_on_cpu(const PageBoundParams& params, PagedCache& /*cache*/) {
  PageBoundParams p = params;
  Buffer workspace(cpu::page_bound_workspace_bytes(params));
  p.workspace = workspace.data();
  cpu::page_bound(p);
}

void bound_pages_on_cuda(const PageBoundParams& params, PagedCache& cache) {
  test::DeviceMirror mirror;
  PageBoundParams p = params;
  const int64_t num_sets = int64_t{params.batch} * params.num_kv_heads;
  p.q = mirror.input(params.q, int64_t{params.batch} * params.num_q_heads * params.head_dim);
  p.summary_tables = cache.page_tables_on(mirror) + (params.summary_tables - cache.page_tables());
  p.kv = cache.view_on(mirror);
  // Of all these ids the test looks at the one after the last row, too.
  p.token_ids = mirror.output(params.token_ids, num_sets * params.token_ids_stride + 1);
  p.num_ids = mirror.output(params.num_ids, num_sets);
  p.kv_lens = mirror.input(params.kv_lens, params.batch);
  p.max_kv_len = params.max_kv_len + 1000;  // room for more
  p.workspace = mirror.scratch(cuda::page_bound_workspace_bytes(p));
  cuda::page_bound(p, mirror.stream());
  mirror.finish();
}

void bound_pages_by_formula(const PageBoundParams& params, PagedCache& /*cache*/) {
  reference::page_bound(params);
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

int64_t num_bound_pages(int64_t kv_len) {
  return (kv_len + kBoundPageSize - 1) / kBoundPageSize;
}

TEST_P(KvTest, SummaryIsMinAndMaxOfItsTokensAlone) {
  const auto& [backend, dtype] = GetParam();
  const BackendScope scope(backend);
  for (const int64_t kv_len : {1, 16, 17, 53, 129, 1100}) {
    for (const int64_t first_page : {int64_t{0}, (kv_len - 1) / kBoundPageSize}) {
      test::Random random;
      test::Random same_random;
      const std::vector<int64_t> lengths = {kv_len, num_bound_pages(kv_len)};
      PagedCache actual(dtype, 3, 40, lengths, 8, random);
      PagedCache expected(dtype, 3, 40, lengths, 8, same_random);
      PageSummaryParams params{.num_kv_heads = 3,
                               .head_dim = 40,
                               .first_page = first_page,
                               .kv_len = kv_len,
                               .page_table = actual.page_table(0),
                               .summary_table = actual.page_table(1),
                               .kv = actual.view()};
      summarize(backend, params, actual);
      params.kv = expected.view();
      reference::page_summary(params);
      EXPECT_TRUE(actual.k_bytes() == expected.k_bytes())
          << kv_len << " tokens from page " << first_page;
      EXPECT_TRUE(actual.v_bytes() == expected.v_bytes())
          << kv_len << " tokens from page " << first_page;
    }
  }
}

TEST_P(KvTest, DecodeRowsSummarizeTheirLastPage) {
  const auto& [backend, dtype] = GetParam();
  if (!backend.cuda) {
    return;  // the CPU's decode step summarizes row by row
  }
  test::Random random;
  test::Random same_random;
  const std::vector<int64_t> kv_lens = {1, 160, 2000};
  const std::vector<int64_t> lengths = {1, 160, 2000, 1, 10, 125};
  PagedCache actual(dtype, 3, 40, lengths, 8, random);
  PagedCache expected(dtype, 3, 40, lengths, 8, same_random);
  const std::vector<uint8_t> active = {1, 1, 1, 0, 0, 0, 1, 1, 1};
  for (const int64_t row : {0, 2}) {
    const int64_t kv_len = kv_lens[static_cast<size_t>(row)];
    reference::page_summary({.num_kv_heads = 3,
                             .head_dim = 40,
                             .first_page = num_bound_pages(kv_len) - 1,
                             .kv_len = kv_len,
                             .page_table = expected.page_table(row),
                             .summary_table = expected.page_table(row + 3),
                             .kv = expected.view()});
  }
  test::DeviceMirror mirror;
  const int32_t* page_tables = actual.page_tables_on(mirror);
  cuda::page_summary_rows({.batch = 3,
                           .num_kv_heads = 3,
                           .head_dim = 40,
                           .page_tables = page_tables,
                           .page_table_stride = actual.page_table_stride(),
                           .summary_tables = page_tables + 3 * actual.page_table_stride(),
                           .summary_table_stride = actual.page_table_stride(),
                           .kv_lens = mirror.input(kv_lens),
                           .active = mirror.input(active),
                           .kv = actual.view_on(mirror)},
                          mirror.stream());
  mirror.finish();
  EXPECT_TRUE(actual.k_bytes() == expected.k_bytes());
  EXPECT_TRUE(actual.v_bytes() == expected.v_bytes());
}

using BoundPages = void (*)(const PageBoundParams&, PagedCache&);

BoundPages bound_pages(const Backend& backend) {
  return backend.cuda ? &bound_pages_on_cuda : &bound_pages_on_cpu;
}

constexpr int kBoundHeads = 3;
constexpr int kBoundDim = 24;

// The sets of rows of `kv_lens`, whose summaries are the cache's sequences from `kv_lens.size()`
// on.
std::vector<std::vector<int32_t>> run_page_bound(BoundPages page_bound, PagedCache& cache,
                                                 const std::vector<int64_t>& kv_lens,
                                                 const Selection& selection,
                                                 const std::vector<float>& q) {
  const auto batch = static_cast<int>(kv_lens.size());
  const int64_t max_kv_len = *std::max_element(kv_lens.begin(), kv_lens.end());
  const int64_t stride = page_bound_max_selected(selection, max_kv_len);
  std::vector<int32_t> ids(static_cast<size_t>(batch * kBoundHeads * stride + 1),
                           std::numeric_limits<int32_t>::max());
  std::vector<int32_t> num_ids(static_cast<size_t>(batch * kBoundHeads), -1);
  page_bound({.batch = batch,
              .num_q_heads = 3 * kBoundHeads,
              .num_kv_heads = kBoundHeads,
              .head_dim = kBoundDim,
              .kv_lens = kv_lens.data(),
              .max_kv_len = max_kv_len,
              .q = q.data(),
              .summary_tables = cache.page_table(batch),
              .summary_table_stride = cache.page_table_stride(),
              .kv = cache.view(),
              .selection = selection,
              .token_ids = ids.data(),
              .token_ids_stride = stride,
              .num_ids = num_ids.data(),
              .workspace = nullptr},
             cache);
  EXPECT_EQ(ids.back(), std::numeric_limits<int32_t>::max()) << "overflow";
  std::vector<std::vector<int32_t>> sets;
  for (size_t set = 0; set < num_ids.size(); ++set) {
    EXPECT_EQ(num_ids[set], page_bound_num_selected(selection, kv_lens[set / kBoundHeads]));
    const auto begin = ids.begin() + static_cast<int64_t>(set) * stride;
    sets.emplace_back(begin, begin + num_ids[set]);
  }
  return sets;
}

TEST_P(KvTest, PageBoundPicksTheBestPages) {
  const auto& [backend, dtype] = GetParam();
  const BackendScope scope(backend);
  struct Case {
    int64_t kv_len;
    Selection selection;
  };
  const auto budget = [](int tokens, int sink, int recent) {
    return Selection{.budget = tokens, .sink = sink, .recent = recent};
  };
  const Case cases[] = {
      {1, budget(16, 0, 1)},
      {53, budget(64, 5, 9)},
      {64, budget(63, 5, 9)},
      {500, budget(100, 17, 33)},
      {513, budget(384, 128, 256)},
      {700, budget(64, 0, 1)},
      {1000, budget(1000, 4, 4)},
      {1001, budget(1000, 4, 4)},
      {2000, budget(256, 100, 20)},
      {2000, {.mode = SelectMode::kRatio, .sink = 30, .recent = 20, .ratio = 0.2}}};
  for (const Case& c : cases) {
    test::Random random;
    const std::vector<int64_t> kv_lens = {c.kv_len, c.kv_len / 2 + 1};
    const std::vector<int64_t> lengths = {kv_lens[0], kv_lens[1], num_bound_pages(kv_lens[0]),
                                          num_bound_pages(kv_lens[1])};
    PagedCache cache(dtype, kBoundHeads, kBoundDim, lengths, 0, random);
    for (const int64_t row : {0, 1}) {
      reference::page_summary({.num_kv_heads = kBoundHeads,
                               .head_dim = kBoundDim,
                               .first_page = 0,
                               .kv_len = kv_lens[static_cast<size_t>(row)],
                               .page_table = cache.page_table(row),
                               .summary_table = cache.page_table(row + 2),
                               .kv = cache.view()});
    }
    const std::vector<float> q = random.normals(int64_t{2} * 3 * kBoundHeads * kBoundDim);
    EXPECT_EQ(run_page_bound(bound_pages(backend), cache, kv_lens, c.selection, q),
              run_page_bound(&bound_pages_by_formula, cache, kv_lens, c.selection, q))
        << c.kv_len << " tokens, budget " << c.selection.budget;
  }
}

TEST(PageBound, TiesGoToTheLowerPageAndNanRanksLast) {
  constexpr int64_t kPages = 8;
  const std::vector<float> q(3 * kBoundHeads * kBoundDim, 1.0F);
  test::Random random;
  PagedCache cache(DType::kF32, kBoundHeads, kBoundDim, {16 * kPages, kPages}, 0, random);
  const PagedKv kv = cache.view();
  for (int64_t page = 0; page < kPages; ++page) {
    for (int64_t head = 0; head < kBoundHeads; ++head) {
      const int64_t at = kv_offset(kv, cache.page_table(1), page, head);
      for (int64_t d = 0; d < kBoundDim; ++d) {
        const float value = page == 1 && head == 0 && d == 0 ? kNan : 0.0F;
        store_kv(kv.dtype, kv.k, at + d, value);
        store_kv(kv.dtype, kv.v, at + d, value);
      }
    }
  }
  for (const Backend& backend : backends()) {
    const BackendScope scope(backend);
    const auto sets = run_page_bound(bound_pages(backend), cache, {16 * kPages},
                                     {.budget = 48, .sink = 1, .recent = 1}, q);
    for (int head = 0; head < kBoundHeads; ++head) {
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
