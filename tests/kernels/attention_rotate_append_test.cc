// What stands between the projections and attention, in one pass on the GPU: a prompt's rows, and
// those of a decode step.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/attention/paged_kv.h"
#include "kernels/attention/rotate_append.h"
#include "kernels/attention_support.h"

namespace lychee::attention {
namespace {

using Case = PromptCase;

constexpr Case kCases[] = {{"one_token", 0, 1, 9, 3, 64},
                           {"page_edge", 63, 66, 4, 4, 128, 8},
                           {"mqa", 5, 130, 16, 1, 64, 4},
                           {"dim_16", 9, 53, 2, 2, 16},
                           {"dim_80", 100, 20, 14, 2, 80, 8}};

struct Call {
  Call(const Case& c, DType q_dtype, DType kv_dtype)
      : cache(kv_dtype, c.num_kv_heads, c.head_dim, {c.first_position + c.num_tokens},
              (c.stride_padding + 7) / 8 * 16, random) {
    const int64_t row = int64_t{c.num_q_heads + 2 * c.num_kv_heads} * c.head_dim + c.stride_padding;
    rows = random.normals(c.num_tokens * row);
    rows[0] = 1e6F;  // beyond f16
    for (int64_t i = 0; i < int64_t{c.num_tokens} * c.head_dim; ++i) {
      table.push_back(random.uniform(-1.0F, 1.0F));
    }
    q_out.assign(static_cast<size_t>(int64_t{c.num_tokens} * c.num_q_heads * c.head_dim),
                 bf16(std::numeric_limits<float>::quiet_NaN()));
    const int64_t q_size = int64_t{c.num_q_heads} * c.head_dim;
    params = {.num_tokens = c.num_tokens,
              .num_q_heads = c.num_q_heads,
              .num_kv_heads = c.num_kv_heads,
              .head_dim = c.head_dim,
              .first_position = c.first_position,
              .q = rows.data(),
              .k = rows.data() + q_size,
              .v = rows.data() + q_size + int64_t{c.num_kv_heads} * c.head_dim,
              .row_stride = row,
              .rope_table = table.data(),
              .page_table = cache.page_table(0),
              .kv = cache.view(),
              .q_dtype = q_dtype,
              .q_out = q_out.data()};
  }
  void run_cuda() {
    test::DeviceMirror mirror;
    RotateAppendParams p = params;
    p.q = mirror.input(rows);
    p.k = p.q + (params.k - params.q);
    p.v = p.q + (params.v - params.q);
    p.rope_table = mirror.input(table);
    p.page_table = cache.page_tables_on(mirror);
    p.kv = cache.view_on(mirror);
    p.q_out = mirror.output(q_out);
    cuda::rotate_append(p, mirror.stream());
    mirror.finish();
  }

  test::Random random;
  PagedCache cache;
  std::vector<float> rows, table;
  std::vector<bf16> q_out;  // or as many f16
  RotateAppendParams params{};
};

// Relative distance of neighbours.
double step_of(DType dtype) {
  return dtype == DType::kF32    ? 0x1p-18  // of the sum of squares and two products
         : dtype == DType::kF16  ? 0x1p-10
         : dtype == DType::kBF16 ? 0x1p-7
                                 : 0x1p-3;
}

// The same but where f32's rounding of the rotation tips a value over to its neighbour.
void expect_alike(DType dtype, const void* actual, const void* expected, int64_t count,
                  const char* what, double slack = 1e-6) {
  for (int64_t i = 0; i < count; ++i) {
    const float a = load_kv(dtype, actual, i);
    const float e = load_kv(dtype, expected, i);
    ASSERT_EQ(std::isnan(a), std::isnan(e)) << what << ' ' << i;  // what no token owns
    if (!std::isnan(e)) {
      ASSERT_NEAR(a, e, std::fabs(e) * step_of(dtype) + slack + 0x1p-9 * (step_of(dtype) > 0.1))
          << what << ' ' << i;
    }
  }
}

using Param = std::tuple<Backend, DType, DType, Case>;
class RotateAppendTest : public testing::TestWithParam<Param> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RotateAppendTest);
INSTANTIATE_TEST_SUITE_P(
    Cases, RotateAppendTest,
    testing::Combine(testing::ValuesIn(cuda_backends()), testing::Values(DType::kF16, DType::kBF16),
                     testing::Values(DType::kF16, DType::kBF16, DType::kF8E4M3),
                     testing::ValuesIn(kCases)),
    [](const testing::TestParamInfo<Param>& info) {
      return std::string(dtype_info(std::get<1>(info.param)).name) + "_to_" +
             std::string(dtype_info(std::get<2>(info.param)).name) + '_' +
             std::get<3>(info.param).name;
    });

TEST_P(RotateAppendTest, MatchesReference) {
  const auto& [backend, q_dtype, kv_dtype, c] = GetParam();
  Call actual(c, q_dtype, kv_dtype);
  Call expected(c, q_dtype, kv_dtype);
  actual.run_cuda();
  reference::rotate_append(expected.params);
  expect_alike(q_dtype, actual.q_out.data(), expected.q_out.data(), std::ssize(actual.q_out), "q");
  const int64_t stored = std::ssize(actual.cache.k_bytes()) / dtype_bytes(kv_dtype, 1);
  expect_alike(kv_dtype, actual.cache.k_bytes().data(), expected.cache.k_bytes().data(), stored,
               "k");
  EXPECT_TRUE(actual.cache.v_bytes() == expected.cache.v_bytes());
}

struct RowsCase {
  const char* name;
  std::vector<int64_t> kv_lens;
  int num_q_heads, num_kv_heads, head_dim;
  int64_t q_padding, kv_padding;
  bool norms;
};
void PrintTo(const RowsCase& c, std::ostream* out) {
  *out << c.name;
}
const std::vector<RowsCase> kRowsCases = {{"one_row", {1}, 9, 3, 64, 0, 0, false},
                                          {"ragged", {1, 64, 65, 4000}, 8, 8, 128, 0, 128, false},
                                          {"head_norms", {130, 7, 63}, 16, 4, 128, 24, 8, true},
                                          {"mqa", {2, 5}, 5, 1, 256, 8, 8, true},
                                          {"dim_24", {100, 1, 9}, 2, 2, 24, 8, 16, true}};

struct RowsCall {
  RowsCall(const RowsCase& c, DType dtype)
      : cache(dtype, c.num_kv_heads, c.head_dim, c.kv_lens, 8, random), kv_lens(c.kv_lens) {
    const auto batch = std::ssize(c.kv_lens);
    const int64_t kv_size = int64_t{c.num_kv_heads} * c.head_dim;
    const int64_t q_stride = int64_t{c.num_q_heads} * c.head_dim + c.q_padding;
    const int64_t kv_stride = 2 * kv_size + c.kv_padding;
    q = random.normals(batch * q_stride);
    kv = random.normals(batch * kv_stride);
    table = random.normals(batch * c.head_dim);
    q_norm = random.normals(c.head_dim);
    k_norm = random.normals(c.head_dim);
    params = {.batch = static_cast<int>(batch),
              .num_q_heads = c.num_q_heads,
              .num_kv_heads = c.num_kv_heads,
              .head_dim = c.head_dim,
              .q = q.data(),
              .q_stride = q_stride,
              .newest = {.k = kv.data(),
                         .v = kv.data() + kv_size,
                         .kv_stride = kv_stride,
                         .q_norm = c.norms ? q_norm.data() : nullptr,
                         .k_norm = c.norms ? k_norm.data() : nullptr,
                         .norm_eps = 1e-5F,
                         .rope_table = table.data()},
              .page_tables = cache.page_tables(),
              .page_table_stride = cache.page_table_stride(),
              .kv_lens = kv_lens.data(),
              .kv = cache.view()};
  }
  void run_cuda() {
    test::DeviceMirror mirror;
    RotateAppendRowsParams p = params;
    p.q = mirror.output(q);
    p.newest.k = mirror.input(kv);
    p.newest.v = p.newest.k + (params.newest.v - params.newest.k);
    p.newest.q_norm = params.newest.q_norm == nullptr ? nullptr : mirror.input(q_norm);
    p.newest.k_norm = params.newest.k_norm == nullptr ? nullptr : mirror.input(k_norm);
    p.newest.rope_table = mirror.input(table);
    p.page_tables = cache.page_tables_on(mirror);
    p.kv_lens = mirror.input(kv_lens);
    p.kv = cache.view_on(mirror);
    cuda::rotate_append_rows(p, mirror.stream());
    mirror.finish();
  }

  test::Random random;
  PagedCache cache;
  std::vector<int64_t> kv_lens;
  std::vector<float> q, kv, table, q_norm, k_norm;
  RotateAppendRowsParams params{};
};

using RowsParam = std::tuple<Backend, DType, RowsCase>;
class RotateAppendRowsTest : public testing::TestWithParam<RowsParam> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RotateAppendRowsTest);
INSTANTIATE_TEST_SUITE_P(Cases, RotateAppendRowsTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16,
                                                          DType::kF8E4M3),
                                          testing::ValuesIn(kRowsCases)),
                         case_name<RowsCase>);

TEST_P(RotateAppendRowsTest, MatchesReference) {
  const auto& [backend, dtype, c] = GetParam();
  RowsCall actual(c, dtype);
  RowsCall expected(c, dtype);
  actual.run_cuda();
  reference::rotate_append_rows(expected.params);
  // Values, norm weights and rotations of up to 4 each: products of 64, which may cancel, in f32.
  constexpr double kSlack = 2e-5;
  // Padding between rows is as it was.
  expect_alike(DType::kF32, actual.q.data(), expected.q.data(), std::ssize(actual.q), "q", kSlack);
  const int64_t stored = std::ssize(actual.cache.k_bytes()) / dtype_bytes(dtype, 1);
  expect_alike(dtype, actual.cache.k_bytes().data(), expected.cache.k_bytes().data(), stored, "k",
               kSlack);
  EXPECT_TRUE(actual.cache.v_bytes() == expected.cache.v_bytes());
}

}  // namespace
}  // namespace lychee::attention
