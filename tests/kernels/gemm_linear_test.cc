// Linear layers and their adjoints by cuBLASLt, against sums in double of the same rounded values.
#include "kernels/linear/gemm_linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/linear/device_linear.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"
#include "tensor/device_buffer.h"

namespace lychee::linear {
namespace {

struct Case {
  const char* name;
  int64_t num_rows, in_features, out_features;
  bool bias, accumulate;
  int64_t padding;  // added to the row strides of activations
};
constexpr Case kCases[] = {
    {"one_of_each", 1, 64, 1, false, false, 0},  {"smollm", 37, 576, 192, false, true, 0},
    {"odd_strided", 7, 61, 129, true, false, 3}, {"bias_added", 300, 256, 200, true, true, 0},
    {"wide", 130, 96, 5000, false, false, 4},
};

using Values = std::vector<double>;

class GemmLinearTest : public testing::TestWithParam<std::tuple<DType, Case>> {
 protected:
  [[nodiscard]] DType dtype() const { return std::get<0>(GetParam()); }
  [[nodiscard]] const Case& shape() const { return std::get<1>(GetParam()); }
  // What the products see of a value.
  [[nodiscard]] double seen(float value) const {
    return dtype() == DType::kF32 ? double{value} : double{static_cast<float>(bf16(value))};
  }
  [[nodiscard]] std::vector<std::byte> pack(const std::vector<float>& weight) const {
    const DeviceFormat format = device_format(dtype());
    std::vector<std::byte> packed(static_cast<size_t>(
        device_weight_bytes(format, shape().in_features, shape().out_features)));
    cpu::pack_device_weight(format, DType::kF32, reinterpret_cast<const std::byte*>(weight.data()),
                            shape().out_features, shape().in_features, packed.data());
    return packed;
  }
  // `actual` has rows of `width` values and padding that was NaN unless values were added.
  void expect_close(const std::vector<float>& actual, const Values& expected, int64_t width,
                    int64_t terms) const {
    double largest = 0;
    for (const double value : expected) {
      largest = std::max(largest, std::fabs(value));
    }
    // Rounding of as many additions as there are terms, against the largest sum.
    const double tolerance = largest * std::sqrt(static_cast<double>(terms)) * 1e-6;
    const int64_t stride = width + shape().padding;
    for (int64_t r = 0; r < shape().num_rows; ++r) {
      for (int64_t i = 0; i < stride; ++i) {
        const float value = actual[static_cast<size_t>(r * stride + i)];
        if (i < width) {
          ASSERT_LE(
              test::absolute_error(double{value}, expected[static_cast<size_t>(r * width + i)]),
              tolerance)
              << r << ", " << i;
        } else {
          ASSERT_TRUE(shape().accumulate || std::isnan(value)) << r << ", " << i;
        }
      }
    }
  }
};

TEST_P(GemmLinearTest, ForwardMatchesSumsInDouble) {
  const Case& c = shape();
  test::Random random;
  const std::vector<float> weight = random.normals(c.in_features * c.out_features);
  const std::vector<float> x = random.normals(c.num_rows * (c.in_features + c.padding));
  const std::vector<float> bias = random.normals(c.out_features);
  std::vector<float> y = random.normals(c.num_rows * (c.out_features + c.padding));
  if (!c.accumulate) {
    y.assign(y.size(), std::numeric_limits<float>::quiet_NaN());
  }
  Values expected;
  for (int64_t r = 0; r < c.num_rows; ++r) {
    for (int64_t o = 0; o < c.out_features; ++o) {
      double sum =
          c.accumulate ? double{y[static_cast<size_t>(r * (c.out_features + c.padding) + o)]} : 0;
      sum += c.bias ? double{bias[static_cast<size_t>(o)]} : 0;
      for (int64_t i = 0; i < c.in_features; ++i) {
        sum += seen(x[static_cast<size_t>(r * (c.in_features + c.padding) + i)]) *
               seen(weight[static_cast<size_t>(o * c.in_features + i)]);
      }
      expected.push_back(sum);
    }
  }
  const std::vector<std::byte> packed = pack(weight);
  test::DeviceMirror mirror;
  LinearParams p{c.num_rows,
                 c.in_features,
                 c.out_features,
                 mirror.input(x),
                 c.in_features + c.padding,
                 dtype(),
                 mirror.input(packed),
                 c.bias ? mirror.input(bias) : nullptr,
                 mirror.output(y),
                 c.out_features + c.padding,
                 c.accumulate,
                 false,
                 nullptr};
  const DeviceBuffer workspace(cuda::gemm_linear_workspace_bytes(p));
  p.workspace = workspace.data();
  cuda::gemm_linear(p, DeviceGemm(), mirror.stream());
  mirror.finish();
  expect_close(y, expected, c.out_features, c.in_features);
}

TEST_P(GemmLinearTest, AdjointMatchesSumsInDouble) {
  const Case& c = shape();
  test::Random random;
  const std::vector<float> weight = random.normals(c.in_features * c.out_features);
  const std::vector<float> dy = random.normals(c.num_rows * (c.out_features + c.padding));
  std::vector<float> dx = random.normals(c.num_rows * (c.in_features + c.padding));
  if (!c.accumulate) {
    dx.assign(dx.size(), std::numeric_limits<float>::quiet_NaN());
  }
  Values expected;
  for (int64_t r = 0; r < c.num_rows; ++r) {
    for (int64_t i = 0; i < c.in_features; ++i) {
      double sum =
          c.accumulate ? double{dx[static_cast<size_t>(r * (c.in_features + c.padding) + i)]} : 0;
      for (int64_t o = 0; o < c.out_features; ++o) {
        sum += seen(dy[static_cast<size_t>(r * (c.out_features + c.padding) + o)]) *
               seen(weight[static_cast<size_t>(o * c.in_features + i)]);
      }
      expected.push_back(sum);
    }
  }
  const std::vector<std::byte> packed = pack(weight);
  test::DeviceMirror mirror;
  LinearBackwardParams<float> p{c.num_rows,
                                c.in_features,
                                c.out_features,
                                mirror.input(dy),
                                c.out_features + c.padding,
                                dtype(),
                                mirror.input(packed),
                                mirror.output(dx),
                                c.in_features + c.padding,
                                c.accumulate,
                                nullptr};
  const DeviceBuffer workspace(cuda::gemm_linear_backward_workspace_bytes(p));
  p.workspace = workspace.data();
  cuda::gemm_linear_backward(p, DeviceGemm(), mirror.stream());
  mirror.finish();
  expect_close(dx, expected, c.in_features, c.out_features);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GemmLinearTest);
INSTANTIATE_TEST_SUITE_P(
    Cuda, GemmLinearTest,
    testing::Combine(testing::ValuesIn(cuda_available() ? std::vector{DType::kBF16, DType::kF32}
                                                        : std::vector<DType>{}),
                     testing::ValuesIn(kCases)),
    [](const auto& info) {
      return std::string(dtype_info(std::get<0>(info.param)).name) + "_" +
             std::get<1>(info.param).name;
    });

}  // namespace
}  // namespace lychee::linear
