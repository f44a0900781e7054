// Prompt attention by cuDNN against the double reference, where there is a GPU and the library.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/attention/fused_attention.h"
#include "kernels/attention/paged_kv.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/attention_support.h"
#include "lychee/error.h"
#include "support/compare.h"

namespace lychee::attention {
namespace {

using Case = PromptCase;

constexpr Case kCases[] = {{"one_token", 0, 1, 9, 3, 64},
                           {"one_later_token", 200, 1, 9, 3, 64},
                           {"odd", 0, 150, 9, 3, 64},
                           {"chunk", 77, 61, 9, 3, 64, 8},
                           {"page_edge", 64, 64, 4, 4, 64},
                           {"mha_128", 100, 53, 4, 4, 128},
                           {"mqa_16", 0, 129, 16, 1, 64},
                           {"group_of_7", 5, 70, 14, 2, 64},
                           {"group_of_4", 700, 200, 8, 2, 128, 16},
                           {"dim_80", 30, 63, 4, 2, 80}};

FusedAttention::Shape shape_of(const Case& c, const PagedKv& kv, int64_t num_pages) {
  constexpr int kMaxTokens = 300;
  return {.max_tokens = kMaxTokens,
          .num_q_heads = c.num_q_heads,
          .num_kv_heads = c.num_kv_heads,
          .head_dim = c.head_dim,
          .max_pages = (c.first_position + c.num_tokens) / kPageSize + 3,
          .num_pages = num_pages,
          .kv = kv};
}

float rounded(DType dtype, float value) {
  return dtype == DType::kF16 ? static_cast<float>(f16(value)) : static_cast<float>(bf16(value));
}

struct Call {
  Call(const Case& c, DType dtype)
      : cache(dtype, c.num_kv_heads, c.head_dim, {c.first_position + c.num_tokens},
              c.stride_padding, random),
        shape(
            shape_of(c, cache.view(), std::ssize(cache.k_bytes()) / 2 / cache.view().page_stride)) {
    const int64_t count = int64_t{shape.max_tokens} * c.num_q_heads * c.head_dim;
    q = random.normals(count);
    for (float& value : q) {
      value = rounded(dtype, value);
    }
    out.assign(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN());
    params = {.num_tokens = c.num_tokens,
              .num_q_heads = c.num_q_heads,
              .num_kv_heads = c.num_kv_heads,
              .head_dim = c.head_dim,
              .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
              .first_position = c.first_position,
              .q = q.data(),
              .q_row_stride = int64_t{c.num_q_heads} * c.head_dim,
              .page_table = cache.page_table(0),
              .kv = cache.view(),
              .out = out.data(),
              .exact = true,
              .workspace = nullptr};
  }
  void run_fused() {
    test::DeviceMirror mirror;
    FusedAttention fused(shape);
    std::vector<bf16> q16(q.size());  // or as many f16
    for (size_t i = 0; i < q.size(); ++i) {
      store_kv(shape.kv.dtype, q16.data(), static_cast<int64_t>(i), q[i]);
    }
    std::vector<bf16> result(q.size(), bf16(std::numeric_limits<float>::quiet_NaN()));
    // Behind the sequence's pages: one of them, as any other would do.
    const int64_t own = (params.first_position + params.num_tokens + kPageSize - 1) / kPageSize;
    std::vector<int32_t> table(params.page_table, params.page_table + own);
    table.resize(static_cast<size_t>(shape.max_pages), table.back());
    fused.attend({.num_tokens = params.num_tokens,
                  .scale = params.scale,
                  .first_position = params.first_position,
                  .q = mirror.input(q16),
                  .page_table = mirror.input(table),
                  .kv = cache.view_on(mirror),
                  .out = mirror.output(result),
                  .workspace = mirror.scratch(FusedAttention::workspace_bytes())},
                 mirror.stream());
    mirror.finish();
    for (size_t i = 0; i < own_values(); ++i) {
      out[i] = static_cast<float>(result[i]);
    }
  }
  [[nodiscard]] size_t own_values() const {
    return static_cast<size_t>(int64_t{params.num_tokens} * params.q_row_stride);
  }
  test::Random random;
  PagedCache cache;
  FusedAttention::Shape shape;
  std::vector<float> q, out;
  PrefillAttentionParams params{};
};

// Where there is a GPU, and a library to load.
std::vector<Backend> fused_backends() {
  std::vector<Backend> all = cuda_backends();
  if (all.empty()) {
    return all;
  }
  try {
    FusedAttention probe(Call(kCases[0], DType::kBF16).shape);
  } catch (const Error&) {
    all.clear();
  }
  return all;
}

using Param = std::tuple<Backend, DType, Case>;
class FusedAttentionTest : public testing::TestWithParam<Param> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FusedAttentionTest);
INSTANTIATE_TEST_SUITE_P(Cases, FusedAttentionTest,
                         testing::Combine(testing::ValuesIn(fused_backends()),
                                          testing::Values(DType::kF16, DType::kBF16),
                                          testing::ValuesIn(kCases)),
                         [](const testing::TestParamInfo<Param>& info) {
                           return std::string(dtype_info(std::get<1>(info.param)).name) + '_' +
                                  std::get<2>(info.param).name;
                         });

// Queries are taken as they are. A softmax weight is rounded to the cache's type, the result to
// bf16, each by at most half a unit of its last place.
TEST_P(FusedAttentionTest, MatchesReference) {
  const auto& [backend, dtype, c] = GetParam();
  Call actual(c, dtype);
  Call expected(c, dtype);
  actual.run_fused();
  reference::prefill_attention(expected.params);
  constexpr double kLargestV = 6;  // of Random::normal
  const double weight = dtype == DType::kF16 ? 0x1p-11 : 0x1p-8;
  const auto own = [&](const Call& call) {
    return std::vector<float>(call.out.begin(),
                              call.out.begin() + static_cast<int64_t>(call.own_values()));
  };
  EXPECT_TRUE(test::within(own(actual), own(expected), (weight + 0x1p-8) * kLargestV + 1e-5));
}

TEST(FusedAttention, NamesWhatItCannotDo) {
  Call call({"long_heads", 0, 10, 4, 2, 256}, DType::kBF16);
  EXPECT_THROW(FusedAttention fused(call.shape), Error);
}

}  // namespace
}  // namespace lychee::attention
