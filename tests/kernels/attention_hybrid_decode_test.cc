#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <tuple>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention_support.h"
#include "kernels/hybrid_decode_call.h"
#include "support/compare.h"

namespace lychee::attention {
namespace {

using Case = HybridDecodeCase;
using Call = HybridDecodeCall;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class HybridDecodeTest : public testing::TestWithParam<std::tuple<Backend, DType, Case>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HybridDecodeTest);

TEST_P(HybridDecodeTest, IsAsGoodAsPlainLoop) {
  const auto& [backend, dtype, c] = GetParam();
  const BackendScope scope(backend);
  Call actual(c, dtype);
  Call plain(c, dtype);
  Call expected(c, dtype);
  actual.run(backend);
  plain.run_plain();
  reference::hybrid_decode(expected.params);
  EXPECT_TRUE(test::as_good_as_plain(actual.out, plain.out, expected.out, 1e-6));
  EXPECT_TRUE(test::as_good_as_plain(actual.lse, plain.lse, expected.lse, 1e-6));
  constexpr float kPoison = 12345;
  EXPECT_TRUE(test::as_good_as_plain(with_poison_as(kPoison, actual.scores),
                                     with_poison_as(kPoison, plain.scores),
                                     with_poison_as(kPoison, expected.scores), 1e-6));
}

INSTANTIATE_TEST_SUITE_P(Cases, HybridDecodeTest,
                         testing::Combine(testing::ValuesIn(backends()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16),
                                          testing::ValuesIn(hybrid_decode_cases())),
                         case_name<Case>);
// A block of an H100 goes through its ring of tiles twice.
const Case kTwoRounds{"two_rounds", {49157}, 2, 2, 128, "sd"};
INSTANTIATE_TEST_SUITE_P(LongCases, HybridDecodeTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF16, DType::kBF16),
                                          testing::Values(kTwoRounds)),
                         case_name<Case>);
INSTANTIATE_TEST_SUITE_P(Fp8Cases, HybridDecodeTest,
                         testing::Combine(testing::ValuesIn(cuda_backends()),
                                          testing::Values(DType::kF8E4M3),
                                          testing::ValuesIn(hybrid_decode_cases())),
                         case_name<Case>);

const Case kMixed{"mixed", {700, 1, 1337, 65}, 9, 3, 64, "shsdaeh"};

TEST(HybridDecode, SameBitsEveryRunAndForAnyNumberOfThreads) {
  const int threads = omp_get_max_threads();
  Call expected(kMixed, DType::kF16);
  expected.run_cpu();
  for (const int count : {1, 2, 3, 7, 7}) {
    omp_set_num_threads(count);
    Call actual(kMixed, DType::kF16);
    actual.run_cpu();
    EXPECT_EQ(actual.out, expected.out) << count << " threads";
    EXPECT_EQ(actual.lse, expected.lse) << count << " threads";
    EXPECT_EQ(with_poison_as(0, actual.scores), with_poison_as(0, expected.scores));
  }
  omp_set_num_threads(threads);
}

class HybridDecodeBackendTest : public testing::TestWithParam<Backend> {};

INSTANTIATE_TEST_SUITE_P(Backends, HybridDecodeBackendTest, testing::ValuesIn(backends()),
                         [](const auto& info) { return info.param.name; });

TEST_P(HybridDecodeBackendTest, SameBitsEveryRun) {
  const BackendScope scope(GetParam());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    Call first(kMixed, dtype);
    Call second(kMixed, dtype);
    first.run(GetParam());
    second.run(GetParam());
    EXPECT_EQ(first.out, second.out);
    EXPECT_EQ(first.lse, second.lse);
    EXPECT_EQ(with_poison_as(0, first.scores), with_poison_as(0, second.scores));
  }
}

TEST_P(HybridDecodeBackendTest, RowsDoNotDependOnTheirBatch) {
  const BackendScope scope(GetParam());
  const Case c{"ragged", {3000, 1, 1337, 65}, 9, 3, 64, "shsdaeh"};
  Call all(c, DType::kBF16);
  all.run(GetParam());
  for (int64_t row = 0; row < 4; ++row) {
    Call alone(c, DType::kBF16);
    alone.run_row(GetParam(), row);
    for (int64_t i = row * 9 * 64; i < (row + 1) * 9 * 64; ++i) {
      ASSERT_EQ(alone.out[static_cast<size_t>(i)], all.out[static_cast<size_t>(i)])
          << "row " << row;
    }
    for (int64_t i = row * 9; i < (row + 1) * 9; ++i) {
      ASSERT_EQ(alone.lse[static_cast<size_t>(i)], all.lse[static_cast<size_t>(i)])
          << "row " << row;
    }
  }
}

TEST_P(HybridDecodeBackendTest, OrderOfASetChangesOnlyRounding) {
  const BackendScope scope(GetParam());
  const Case c{"permuted", {900}, 9, 3, 64, "h"};
  Call first(c, DType::kF16);
  Call second(c, DType::kF16);
  for (int64_t set = 0; set < 3; ++set) {
    auto begin = second.token_ids.begin() + set * second.params.token_ids_stride;
    std::sort(begin, begin + second.num_ids[static_cast<size_t>(set)]);
  }
  first.run(GetParam());
  second.run(GetParam());
  EXPECT_TRUE(test::within(first.out, second.out, 2e-6));
  EXPECT_TRUE(test::within(first.lse, second.lse, 2e-6));
}

TEST_P(HybridDecodeBackendTest, SetOfAllTokensEqualsDense) {
  const BackendScope scope(GetParam());
  const Case sparse_case{"all", {1, 64, 777}, 8, 2, 128, "a"};
  Case dense_case = sparse_case;
  dense_case.heads = "d";
  Call sparse(sparse_case, DType::kF16);
  Call dense(dense_case, DType::kF16);
  for (size_t item = 0; item < sparse.num_ids.size(); ++item) {
    auto begin =
        sparse.token_ids.begin() + static_cast<int64_t>(item) * sparse.params.token_ids_stride;
    std::sort(begin, begin + sparse.num_ids[item]);
  }
  sparse.run(GetParam());
  dense.run(GetParam());
  EXPECT_EQ(sparse.out, dense.out);
  EXPECT_EQ(sparse.lse, dense.lse);
}

TEST_P(HybridDecodeBackendTest, HugeScoresDoNotOverflow) {
  const BackendScope scope(GetParam());
  const Case c{"huge", {300}, 4, 2, 64, "sa"};
  Call actual(c, DType::kF32);
  Call expected(c, DType::kF32);
  for (Call* call : {&actual, &expected}) {
    for (float& value : call->q) {
      value *= 1e4F;
    }
  }
  actual.run(GetParam());
  reference::hybrid_decode(expected.params);
  EXPECT_TRUE(test::within(actual.out, expected.out, 1e-2));
}

TEST_P(HybridDecodeBackendTest, NullOutputsAreNotWritten) {
  const BackendScope scope(GetParam());
  Call call(kMixed, DType::kF32);
  Call expected(kMixed, DType::kF32);
  expected.run(GetParam());
  call.params.lse = nullptr;
  call.params.scores = nullptr;
  call.params.emit_scores = nullptr;
  call.run(GetParam());
  EXPECT_EQ(call.out, expected.out);
  for (const float value : call.lse) {
    EXPECT_TRUE(std::isnan(value));
  }
}

class HybridDecodeCudaTest : public testing::TestWithParam<Backend> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HybridDecodeCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, HybridDecodeCudaTest, testing::ValuesIn(cuda_backends()),
                         [](const auto& info) { return info.param.name; });

// Counters of a launch come back to zero, so that a graph may repeat it.
TEST_P(HybridDecodeCudaTest, MayBeRepeated) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kF8E4M3}) {
    const Case c{"repeated", {3000, 70}, 8, 2, 128, "shds"};
    Call once(c, dtype);
    Call often(c, dtype);
    once.run_cuda();
    often.run_cuda(3);
    EXPECT_EQ(once.out, often.out);
    EXPECT_EQ(once.lse, often.lse);
  }
}

// Whole heads, heads in parts, the plain kernel and one that holds what is not finite.
TEST_P(HybridDecodeCudaTest, RoundedOutputIsTheOutputRounded) {
  const std::vector<Case> rounded_cases = {{"tiles", {9000, 17}, 16, 2, 128, "shda"},
                                           {"mqa_16", {3000}, 16, 1, 64, "s"},
                                           {"plain", {700, 3}, 4, 2, 40, "sh"}};
  for (const Case& c : rounded_cases) {
    for (const bool wants_both : {true, false}) {
      Call expected(c, DType::kBF16);
      expected.q.front() = std::numeric_limits<float>::infinity();
      expected.q.back() = kNan;
      expected.run_cuda();
      Call actual(c, DType::kBF16);
      actual.q = expected.q;
      actual.rounded_out.resize(actual.out.size());
      if (!wants_both) {
        actual.params.out = nullptr;
      }
      actual.run_cuda();
      int64_t num_finite = 0;
      for (size_t i = 0; i < expected.out.size(); ++i) {
        const float value = static_cast<float>(actual.rounded_out[i]);
        num_finite += std::isfinite(expected.out[i]) ? 1 : 0;
        if (std::isnan(expected.out[i])) {
          ASSERT_TRUE(std::isnan(value)) << c.name << " " << i;
        } else {
          ASSERT_EQ(value, static_cast<float>(bf16(expected.out[i]))) << c.name << " " << i;
        }
      }
      EXPECT_GT(num_finite, 0);
      EXPECT_LT(num_finite, std::ssize(expected.out));
      if (wants_both) {
        EXPECT_EQ(with_poison_as(0, actual.out), with_poison_as(0, expected.out));
      }
    }
  }
}

// More heads in parts than a block remembers, so that it merges before its end too.
TEST_P(HybridDecodeCudaTest, ManyRowsInPartsEqualRowsAlone) {
  const Case c{"many_rows", std::vector<int64_t>(48, 5000), 8, 4, 64, "dsha"};
  Call all(c, DType::kBF16);
  all.run_cuda(2);
  for (const int64_t row : {0, 13, 29, 47}) {
    Call alone(c, DType::kBF16);
    alone.run_cuda(1, row);
    const int64_t size = 8 * 64;
    for (int64_t i = row * size; i < (row + 1) * size; ++i) {
      ASSERT_EQ(alone.out[static_cast<size_t>(i)], all.out[static_cast<size_t>(i)])
          << "row " << row;
    }
  }
}

}  // namespace
}  // namespace lychee::attention
