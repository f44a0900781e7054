#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <tuple>
#include <vector>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention_support.h"
#include "kernels/hybrid_decode_call.h"

namespace lychee::attention {
namespace {

// What hybrid_decode's tensor cores take, with strides of whole `alignment` elements.
std::vector<HybridDecodeCase> tensor_core_cases(int64_t alignment) {
  std::vector<HybridDecodeCase> cases;
  std::ranges::copy_if(
      hybrid_decode_cases(), std::back_inserter(cases), [&](const HybridDecodeCase& c) {
        return (c.head_dim == 64 || c.head_dim == 128) && c.num_q_heads <= 16 * c.num_kv_heads &&
               c.num_kv_heads <= 32 && c.stride_padding % alignment == 0;
      });
  return cases;
}

class NewestTokensTest
    : public testing::TestWithParam<std::tuple<Backend, DType, HybridDecodeCase>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(NewestTokensTest);
INSTANTIATE_TEST_SUITE_P(Cases, NewestTokensTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF16, DType::kBF16),
                                          testing::ValuesIn(tensor_core_cases(8))),
                         case_name<HybridDecodeCase>);
INSTANTIATE_TEST_SUITE_P(Fp8Cases, NewestTokensTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF8E4M3),
                                          testing::ValuesIn(tensor_core_cases(16))),
                         case_name<HybridDecodeCase>);

TEST_P(NewestTokensTest, AreWhatTheirOwnLaunchMakesOfThemToTheBit) {
  const auto& [backend, dtype, c] = GetParam();
  const HybridDecodeCall probe(c, dtype);
  ASSERT_TRUE(cuda::takes_newest_tokens(probe.params));
  for (const bool norms : {false, true}) {
    HybridDecodeCall expected(c, dtype);
    HybridDecodeCall actual(c, dtype);
    expected.make_newest(norms);
    actual.make_newest(norms);
    expected.run_cuda(1, -1, HybridDecodeCall::Newest::kApart);
    actual.run_cuda(2, -1,
                    HybridDecodeCall::Newest::kByAttention);  // the second finds them in the cache
    EXPECT_EQ(actual.out, expected.out);
    EXPECT_EQ(actual.lse, expected.lse);
    EXPECT_EQ(with_poison_as(0, actual.scores), with_poison_as(0, expected.scores));
    EXPECT_TRUE(actual.cache.k_bytes() == expected.cache.k_bytes());
    EXPECT_TRUE(actual.cache.v_bytes() == expected.cache.v_bytes());
  }
}

}  // namespace
}  // namespace lychee::attention
