// The adjoint of `linear` in every weight format.
#include "kernels/linear/linear_backward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/linear_support.h"
#include "support/compare.h"
#include "support/random.h"

namespace lychee::linear {
namespace {

struct Case {
  const char* name;
  int64_t num_rows, in_features, out_features;
  bool accumulate;
  int64_t padding;  // added to the row strides
};

constexpr Case kCases[] = {
    {"one_of_each", 1, 256, 1, false, 0},
    {"odd_rows_strided", 7, 512, 61, false, 3},
    {"added", 5, 256, 129, true, 1},
    {"several_panels", 3, 8192, 300, false, 0},
    {"several_panels_added", 3, 8192, 300, true, 0},
};

class LinearBackwardTest : public testing::TestWithParam<std::tuple<DType, Case>> {};

TEST_P(LinearBackwardTest, MatchesReference) {
  const auto& [dtype, c] = GetParam();
  const RandomWeight weight(dtype, c.in_features * c.out_features, 3, 2);
  test::Random random;
  const int64_t dy_stride = c.out_features + c.padding;
  const int64_t dx_stride = c.in_features + c.padding;
  const std::vector<float> dy = random.normals(c.num_rows * dy_stride);
  std::vector<float> dx = random.normals(c.num_rows * dx_stride);
  const std::vector<double> dy_wide(dy.begin(), dy.end());
  std::vector<double> dx_wide(dx.begin(), dx.end());
  if (!c.accumulate) {
    dx.assign(dx.size(), std::numeric_limits<float>::quiet_NaN());
    dx_wide.assign(dx.size(), std::numeric_limits<double>::quiet_NaN());
  }
  LinearBackwardParams<float> p{c.num_rows, c.in_features, c.out_features, dy.data(),
                                dy_stride,  dtype,         weight.data(),  dx.data(),
                                dx_stride,  c.accumulate,  nullptr};
  std::vector<std::byte> workspace(static_cast<size_t>(cpu::linear_backward_workspace_bytes(p)));
  p.workspace = workspace.data();
  cpu::linear_backward(p);
  reference::linear_backward({c.num_rows, c.in_features, c.out_features, dy_wide.data(), dy_stride,
                              dtype, weight.data(), dx_wide.data(), dx_stride, c.accumulate,
                              nullptr});
  double largest = 0;
  for (int64_t r = 0; r < c.num_rows; ++r) {
    for (int64_t i = 0; i < c.in_features; ++i) {
      largest = std::max(largest, std::fabs(dx_wide[static_cast<size_t>(r * dx_stride + i)]));
    }
  }
  // Rounding of as many additions as there are outputs, against the largest sum.
  const double tolerance = largest * std::sqrt(static_cast<double>(c.out_features)) * 1e-6;
  for (int64_t r = 0; r < c.num_rows; ++r) {
    for (int64_t i = 0; i < c.in_features; ++i) {
      const auto at = static_cast<size_t>(r * dx_stride + i);
      ASSERT_LE(test::absolute_error(double{dx[at]}, dx_wide[at]), tolerance) << r << ", " << i;
    }
    for (int64_t i = c.in_features; i < dx_stride && !c.accumulate; ++i) {
      ASSERT_TRUE(std::isnan(dx[static_cast<size_t>(r * dx_stride + i)]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryFormat, LinearBackwardTest,
                         testing::Combine(testing::ValuesIn(kAllDTypes), testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return std::string(dtype_info(std::get<0>(info.param)).name) + "_" +
                                  std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace lychee::linear
