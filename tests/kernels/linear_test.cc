// cpu::linear against reference::linear for every weight format, on every instruction set.
#include "kernels/linear/linear.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <tuple>

#include "kernels/linear_support.h"
#include "support/compare.h"
#include "support/simd_targets.h"

namespace lychee::linear {
namespace {

// in_features must be a multiple of 256 for K-quants.
constexpr LinearCase kCases[] = {
    {"one_row_one_output", 1, 256, 1, false, false, 0, 0, 0},
    {"one_row", 1, 768, 49, false, false, 0, 0, 0},
    {"one_row_unaligned", 1, 768, 7, true, false, 0, 0, 2},
    {"three_rows_strided", 3, 512, 7, true, true, 5, 3, 0},
    {"odd_address", 3, 256, 7, false, true, 1, 1, 1},
    {"most_decode_rows", 64, 256, 49, false, true, 3, 0, 0},
    {"fewest_prefill_rows", 65, 256, 49, true, false, 0, 0, 2},
    {"prefill_strided", 200, 512, 49, true, true, 8, 5, 0},
    {"prefill_one_output", 65, 256, 1, false, true, 0, 0, 0},
};
// Rows that are no whole number of tiles of 128.
constexpr LinearCase kOddCases[] = {
    {"one_group", 1, 32, 7, false, false, 0, 0, 0},
    {"partial_tile", 1, 576, 49, true, true, 0, 0, 0},
    {"partial_tile_rows", 3, 160, 7, false, false, 3, 2, 2},
    {"three_groups", 65, 96, 7, true, true, 0, 0, 0},
    {"many_blocks", 1, 2144, 3, false, false, 0, 0, 0},
};
// A plain row of any length.
constexpr LinearCase kRaggedCases[] = {
    {"one_input", 1, 1, 7, true, false, 0, 0, 0},
    {"ragged", 3, 61, 49, false, true, 2, 3, 2},
    {"ragged_prefill", 65, 61, 49, true, true, 2, 3, 2},
};

void expect_matches_reference(const LinearCase& c, DType dtype, bool exact, bool rounds) {
  SCOPED_TRACE(std::string(c.name) + " " + std::string(dtype_info(dtype).name));
  LinearInputs actual(c, dtype, exact);
  LinearInputs expected(c, dtype, exact);
  const std::vector<float> before = expected.outputs();
  actual.run_cpu();
  reference::linear(expected.params);
  ASSERT_TRUE(actual.padding_untouched());
  const double atol = std::ldexp(largest_magnitude(expected.params), -22);
  if (exact || !is_quantized(dtype)) {
    const std::vector<float> plain = plain_linear(expected.params, before);
    EXPECT_TRUE(test::as_good_as_plain(actual.outputs(), plain, expected.outputs(), atol));
    return;
  }
  // The same arithmetic in plain loops: what rounding costs is bounded by what it costs there...
  LinearInputs rounded_inputs(c, dtype, exact);
  const std::vector<float> x =
      rounded(rounded_inputs.x, c.num_rows, c.in_features, rounded_inputs.params.x_stride);
  rounded_inputs.params.x = x.data();
  const std::vector<float> plain = plain_linear(rounded_inputs.params, before);
  EXPECT_TRUE(test::as_good_as_plain(actual.outputs(), plain, expected.outputs(), atol));
  // ...and on the rounded values the sums are as good as in f32. Beyond kMaxDecodeRows activations
  // need not be rounded this way.
  if (c.num_rows <= kMaxDecodeRows && rounds) {
    reference::linear(rounded_inputs.params);
    EXPECT_TRUE(test::as_good_as_plain(actual.outputs(), plain, rounded_inputs.outputs(), atol));
  }
}

class LinearTest : public testing::TestWithParam<std::tuple<int64_t, DType, bool>> {};

TEST_P(LinearTest, MatchesReference) {
  const auto [target, dtype, exact] = GetParam();
  const test::SimdTargetScope scope(target);
  const bool rounds = target != HWY_SCALAR;  // without vectors activations stay in f32
  for (const LinearCase& c : kCases) {
    expect_matches_reference(c, dtype, exact, rounds);
  }
  for (const LinearCase& c : kOddCases) {
    if (dtype_info(dtype).block_size <= 32) {
      expect_matches_reference(c, dtype, exact, rounds);
    }
  }
  for (const LinearCase& c : kRaggedCases) {
    if (!is_quantized(dtype)) {
      expect_matches_reference(c, dtype, exact, rounds);
    }
  }
}

std::vector<float> run_rows(DType dtype, bool exact, int64_t first, int64_t count, int threads) {
  const LinearCase c = {"rows", kMaxDecodeRows, 768, 49, true, true, 0, 0, 2};
  LinearInputs inputs(c, dtype, exact);
  const int before = omp_get_max_threads();
  omp_set_num_threads(threads);
  inputs.params.num_rows = count;
  inputs.params.x += first * inputs.params.x_stride;
  inputs.params.y += first * inputs.params.y_stride;
  inputs.run_cpu();
  omp_set_num_threads(before);
  const std::vector<float> all = [&] {
    inputs.params.num_rows = kMaxDecodeRows;
    return inputs.outputs();
  }();
  const auto begin = all.begin() + first * c.out_features;
  return {begin, begin + count * c.out_features};
}

TEST_P(LinearTest, RowsDoNotDependOnTheirNumberOrOnThreads) {
  const auto [target, dtype, exact] = GetParam();
  const test::SimdTargetScope scope(target);
  const std::vector<float> all = run_rows(dtype, exact, 0, kMaxDecodeRows, 2);
  EXPECT_EQ(run_rows(dtype, exact, 0, kMaxDecodeRows, 1), all);
  EXPECT_EQ(run_rows(dtype, exact, 0, kMaxDecodeRows, 3), all);
  const auto row = [&](int64_t first, int64_t count) {
    return std::vector<float>(all.begin() + first * 49, all.begin() + (first + count) * 49);
  };
  for (const int64_t count : {1, 2, 3, 5, 31}) {
    EXPECT_EQ(run_rows(dtype, exact, 7, count, 2), row(7, count)) << count << " rows";
  }
  EXPECT_EQ(run_rows(dtype, exact, 63, 1, 1), row(63, 1));
}

TEST_P(LinearTest, NonFiniteRowsStayByThemselves) {
  const auto [target, dtype, exact] = GetParam();
  const test::SimdTargetScope scope(target);
  LinearInputs inputs({"nan", 3, 256, 7, false, false, 0, 0, 0}, dtype, exact);
  inputs.x[256 + 100] = std::numeric_limits<float>::quiet_NaN();
  inputs.x[512 + 3] = std::numeric_limits<float>::infinity();
  inputs.run_cpu();
  for (int o = 0; o < 7; ++o) {
    EXPECT_TRUE(std::isfinite(inputs.y[static_cast<size_t>(o)]));
    EXPECT_TRUE(std::isnan(inputs.y[static_cast<size_t>(7 + o)]));
    EXPECT_FALSE(std::isfinite(inputs.y[static_cast<size_t>(14 + o)]));
  }
}

TEST_P(LinearTest, ZeroRowsGiveTheBias) {
  const auto [target, dtype, exact] = GetParam();
  const test::SimdTargetScope scope(target);
  LinearInputs inputs({"zero", 3, 256, 7, true, false, 0, 0, 0}, dtype, exact);
  std::fill(inputs.x.begin(), inputs.x.end(), 0.0F);
  inputs.run_cpu();
  for (size_t i = 0; i < 21; ++i) {
    EXPECT_EQ(inputs.y[i], inputs.bias[i % 7]);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, LinearTest,
                         testing::Combine(testing::ValuesIn(test::simd_targets()),
                                          testing::ValuesIn(kAllDTypes), testing::Bool()),
                         [](const auto& info) {
                           return test::simd_target_name(std::get<0>(info.param)) + "_" +
                                  std::string(dtype_info(std::get<1>(info.param)).name) +
                                  (std::get<2>(info.param) ? "_exact" : "");
                         });

// Long rows are widened 128 outputs at a time.
TEST(Linear, SeveralPanelsOfPrefill) {
  expect_matches_reference({"panels", 65, 8448, 130, true, true, 0, 0, 0}, DType::kQ4_K, true,
                           false);
}

// Q, K and V of mixed formats, as files of real models have them.
TEST(LinearGroup, EqualsItsPartsToTheBit) {
  constexpr DType kTypes[] = {DType::kQ4_K, DType::kQ6_K, DType::kQ4_1, DType::kF16, DType::kQ8_0};
  for (const int64_t rows : {1, 3, 65}) {
    const LinearCase c = {"part", rows, 768, 49, true, true, 0, 0, 2};
    std::vector<LinearInputs> parts;
    std::vector<LinearInputs> together;
    parts.reserve(5);
    together.reserve(5);
    std::vector<LinearTarget> targets;
    for (const DType dtype : kTypes) {
      parts.emplace_back(c, dtype, false).run_cpu();
      const LinearParams& p = together.emplace_back(c, dtype, false).params;
      targets.push_back({p.out_features, dtype, p.weight, p.bias, p.y, p.y_stride});
    }
    const LinearParams& p = together[0].params;
    LinearGroupParams group = {rows, 768, p.x, p.x_stride, targets, true, false, nullptr};
    std::vector<float> workspace(
        static_cast<size_t>(cpu::linear_group_workspace_bytes(group) / 4 + 16));
    group.workspace =
        workspace.data() + (16 - std::bit_cast<uintptr_t>(workspace.data()) / 4 % 16) % 16;
    cpu::linear_group(group);
    for (size_t i = 0; i < std::size(kTypes); ++i) {
      EXPECT_EQ(together[i].y, parts[i].y) << dtype_info(kTypes[i]).name << ", rows " << rows;
    }
  }
}

}  // namespace
}  // namespace lychee::linear
