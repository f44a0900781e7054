#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>

#include "kernels/attention/prefill_attention.h"
#include "kernels/attention_support.h"
#include "support/compare.h"
#include "tensor/buffer.h"

namespace lychee::attention {
namespace {

using Case = PromptCase;

constexpr Case kCases[] = {
    {"one_token", 0, 1, 9, 3, 64},      {"one_later_token", 200, 1, 9, 3, 64},
    {"smollm2", 0, 150, 9, 3, 64},      {"chunk", 77, 61, 9, 3, 64, 8},
    {"page_edge", 64, 64, 4, 4, 64},    {"mha_128", 100, 53, 4, 4, 128},
    {"mqa", 0, 129, 16, 1, 64},         {"group_of_7", 5, 70, 14, 2, 64},
    {"group_of_20", 3, 30, 40, 2, 16},  {"dim_8", 9, 53, 2, 2, 8},
    {"dim_16", 0, 61, 6, 3, 16},        {"dim_24", 11, 129, 4, 2, 24, 8},
    {"dim_40", 0, 65, 3, 1, 40},        {"dim_80", 30, 63, 4, 2, 80},
    {"dim_96", 0, 200, 4, 2, 96},       {"dim_256", 10, 40, 4, 2, 256, 8},
    {"many_blocks", 300, 500, 2, 1, 32}};

struct Call {
  Call(const Case& c, DType dtype)
      : random(test::kSeed),
        cache(dtype, c.num_kv_heads, c.head_dim, {c.first_position + c.num_tokens},
              c.stride_padding, random) {
    const int64_t row_stride = int64_t{c.num_q_heads} * c.head_dim + c.stride_padding;
    q = random.normals(c.num_tokens * row_stride);
    out.assign(static_cast<size_t>(int64_t{c.num_tokens} * c.num_q_heads * c.head_dim),
               std::numeric_limits<float>::quiet_NaN());
    params = {.num_tokens = c.num_tokens,
              .num_q_heads = c.num_q_heads,
              .num_kv_heads = c.num_kv_heads,
              .head_dim = c.head_dim,
              .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
              .first_position = c.first_position,
              .q = q.data(),
              .q_row_stride = row_stride,
              .page_table = cache.page_table(0),
              .kv = cache.view(),
              .out = out.data(),
              .exact = true,
              .workspace = nullptr};
  }
  void run_cpu() {
    workspace = Buffer(cpu::prefill_attention_workspace_bytes(params));
    std::fill_n(workspace.data(), workspace.bytes(), std::byte{0xff});
    params.workspace = workspace.data();
    cpu::prefill_attention(params);
  }
  void run_cuda() {
    test::DeviceMirror mirror;
    PrefillAttentionParams p = params;
    const int64_t skipped = params.q - q.data();
    p.q = mirror.input(q) + skipped;
    p.page_table = cache.page_tables_on(mirror);
    p.kv = cache.view_on(mirror);
    p.out = mirror.output(out) + (params.out - out.data());
    p.workspace = mirror.scratch(cuda::prefill_attention_workspace_bytes(params));
    cuda::prefill_attention(p, mirror.stream());
    mirror.finish();
  }
  void run(const Backend& backend) { backend.cuda ? run_cuda() : run_cpu(); }
  void run_plain() {
    for (int64_t row = 0; row < int64_t{params.num_tokens} * params.num_q_heads; ++row) {
      const int64_t token = row / params.num_q_heads;
      const int64_t head = row % params.num_q_heads;
      std::vector<int64_t> positions(static_cast<size_t>(params.first_position + token + 1));
      std::iota(positions.begin(), positions.end(), 0);
      plain_attention(params.q + token * params.q_row_stride + head * params.head_dim, params.kv,
                      params.page_table, head / (params.num_q_heads / params.num_kv_heads),
                      positions, params.head_dim, params.scale, params.out + row * params.head_dim);
    }
  }
  test::Random random;
  PagedCache cache;
  std::vector<float> q, out;
  Buffer workspace;
  PrefillAttentionParams params{};
};

class PrefillAttentionTest : public testing::TestWithParam<std::tuple<Backend, DType, Case>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PrefillAttentionTest);

TEST_P(PrefillAttentionTest, IsAsGoodAsPlainLoop) {
  const auto& [backend, dtype, c] = GetParam();
  const BackendScope scope(backend);
  Call actual(c, dtype);
  Call plain(c, dtype);
  Call expected(c, dtype);
  actual.run(backend);
  plain.run_plain();
  reference::prefill_attention(expected.params);
  EXPECT_TRUE(test::as_good_as_plain(actual.out, plain.out, expected.out, 1e-6));
}

INSTANTIATE_TEST_SUITE_P(Cases, PrefillAttentionTest,
                         testing::Combine(testing::ValuesIn(backends()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                                          testing::ValuesIn(kCases)),
                         case_name<Case>);
INSTANTIATE_TEST_SUITE_P(Fp8Cases, PrefillAttentionTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF8E4M3),
                                          testing::ValuesIn(kCases)),
                         case_name<Case>);

constexpr Case kWhole{"whole", 0, 400, 9, 3, 64};

TEST(PrefillAttention, SameBitsForAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  Call expected(kWhole, DType::kF16);
  expected.run_cpu();
  for (const int count : {1, 3, 5, 5}) {
    omp_set_num_threads(count);
    Call actual(kWhole, DType::kF16);
    actual.run_cpu();
    EXPECT_EQ(actual.out, expected.out) << count << " threads";
  }
  omp_set_num_threads(threads);
}

class PrefillBackendTest : public testing::TestWithParam<Backend> {};

INSTANTIATE_TEST_SUITE_P(Backends, PrefillBackendTest, testing::ValuesIn(backends()),
                         [](const auto& info) { return info.param.name; });

TEST_P(PrefillBackendTest, SameBitsHoweverThePromptIsCut) {
  const BackendScope scope(GetParam());
  Call whole(kWhole, DType::kF16);
  whole.run(GetParam());
  for (const int chunk : {1, 37, 64, 250}) {
    Call cut(kWhole, DType::kF16);
    for (int first = 0; first < kWhole.num_tokens; first += chunk) {
      PrefillAttentionParams& p = cut.params;
      p.first_position = first;
      p.num_tokens = std::min(chunk, kWhole.num_tokens - first);
      p.q = cut.q.data() + first * p.q_row_stride;
      p.out = cut.out.data() + int64_t{first} * p.num_q_heads * p.head_dim;
      cut.run(GetParam());
    }
    EXPECT_EQ(cut.out, whole.out) << "chunks of " << chunk;
  }
}

class PrefillCudaTest : public testing::TestWithParam<Backend> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PrefillCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, PrefillCudaTest, testing::ValuesIn(cuda_backends()),
                         [](const auto& info) { return info.param.name; });

// Without `exact` a query and a softmax weight are each rounded once to the cache's dtype, by half
// a unit of its last place; the rounded queries are taken as given.
TEST_P(PrefillCudaTest, NarrowProductsRoundOnce) {
  struct Narrow {
    DType dtype;
    double epsilon;
  };
  for (const Narrow& narrow : {Narrow{DType::kBF16, 0x1p-9}, Narrow{DType::kF16, 0x1p-12}}) {
    for (const Case& c : {kWhole, Case{"narrow_128", 100, 200, 4, 2, 128}}) {
      Call actual(c, narrow.dtype);
      Call expected(c, narrow.dtype);
      for (Call* call : {&actual, &expected}) {
        for (float& value : call->q) {
          value = narrow.dtype == DType::kBF16 ? static_cast<float>(bf16(value))
                                               : static_cast<float>(f16(value));
        }
      }
      actual.params.exact = false;
      actual.run_cuda();
      reference::prefill_attention(expected.params);
      constexpr double kLargestV = 6;  // of Random::normal
      EXPECT_TRUE(test::within(actual.out, expected.out, narrow.epsilon * kLargestV + 1e-5));
    }
  }
}

TEST_P(PrefillBackendTest, HugeScoresDoNotOverflow) {
  const BackendScope scope(GetParam());
  Call actual(kWhole, DType::kF32);
  Call plain(kWhole, DType::kF32);
  Call expected(kWhole, DType::kF32);
  for (Call* call : {&actual, &plain, &expected}) {
    for (float& value : call->q) {
      value *= 1e3F;
    }
  }
  actual.run(GetParam());
  plain.run_plain();
  reference::prefill_attention(expected.params);
  EXPECT_TRUE(test::as_good_as_plain(actual.out, plain.out, expected.out, 1e-5));
}

}  // namespace
}  // namespace lychee::attention
