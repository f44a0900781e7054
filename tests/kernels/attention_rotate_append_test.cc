// A prompt's rows between the projections and attention, in one pass on the GPU.
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
  return dtype == DType::kF16 ? 0x1p-10 : dtype == DType::kBF16 ? 0x1p-7 : 0x1p-3;
}

// The same but where f32's rounding of the rotation tips a value over to its neighbour.
void expect_alike(DType dtype, const void* actual, const void* expected, int64_t count,
                  const char* what) {
  for (int64_t i = 0; i < count; ++i) {
    const float a = load_kv(dtype, actual, i);
    const float e = load_kv(dtype, expected, i);
    ASSERT_EQ(std::isnan(a), std::isnan(e)) << what << ' ' << i;  // what no token owns
    if (!std::isnan(e)) {
      ASSERT_NEAR(a, e, std::fabs(e) * step_of(dtype) + 1e-6 + 0x1p-9 * (step_of(dtype) > 0.1))
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

}  // namespace
}  // namespace lychee::attention
