// RMSNorm in the launch of the CUDA backend's linear layers, and rows that are not finite.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/linear_cuda_support.h"
#include "kernels/norm/rms_norm.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::linear {
namespace {

class LinearCudaNormTest : public LinearOnCuda {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LinearCudaNormTest);
INSTANTIATE_TEST_SUITE_P(Cuda, LinearCudaNormTest, testing::ValuesIn(cuda_forms()),
                         [](const auto& info) { return form_name(info.param); });

// RMSNorm in double.
std::vector<float> normed_rows(const LinearParams& p, const std::vector<float>& weight) {
  std::vector<float> normed(static_cast<size_t>(p.num_rows * p.x_stride));
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    double squares = 0;
    for (int64_t i = 0; i < p.in_features; ++i) {
      squares += double{x[i]} * double{x[i]};
    }
    const double factor = 1 / std::sqrt(squares / static_cast<double>(p.in_features) + kEps);
    for (int64_t i = 0; i < p.in_features; ++i) {
      normed[static_cast<size_t>(r * p.x_stride + i)] =
          static_cast<float>(x[i] * factor * double{weight[static_cast<size_t>(i)]});
    }
  }
  return normed;
}

// RMSNorm by its own kernel, in the rows' strides.
std::vector<float> norm_apart(const LinearParams& p, const std::vector<float>& weight) {
  std::vector<bf16> rounded(static_cast<size_t>(p.num_rows * p.in_features), bf16(std::nanf("")));
  test::DeviceMirror mirror;
  norm::cuda::rms_norm(norm::RoundedRmsNormParams{.num_rows = p.num_rows,
                                                  .dim = p.in_features,
                                                  .x = mirror.input(p.x, p.num_rows * p.x_stride),
                                                  .x_stride = p.x_stride,
                                                  .weight = mirror.input(weight),
                                                  .eps = kEps,
                                                  .y = mirror.output(rounded),
                                                  .y_stride = p.in_features},
                       mirror.stream());
  mirror.finish();
  std::vector<float> rows(static_cast<size_t>(p.num_rows * p.x_stride));
  for (int64_t i = 0; i < p.num_rows * p.in_features; ++i) {
    rows[static_cast<size_t>(i / p.in_features * p.x_stride + i % p.in_features)] =
        static_cast<float>(rounded[static_cast<size_t>(i)]);
  }
  return rows;
}

// Q, K and V of different forms, so that one call takes several launches, and SwiGLU.
void expect_norm(const Form& form, const LinearInputs& inputs, const std::vector<float>& weight,
                 const DeviceGemm* gemm) {
  const LinearParams& p = inputs.params;
  const PackedWeight first(form, p.in_features, p.out_features, 1);
  const PackedWeight second({DeviceFormat::kBF16, DType::kBF16}, p.in_features, p.out_features, 2);
  const PackedWeight third(form, p.in_features, p.out_features, 3);
  const std::vector<float> normed = norm_apart(p, weight);
  LinearParams of_normed = p;
  of_normed.x = normed.data();
  const DeviceWeight weights[] = {first.weight, second.weight, third.weight};
  std::vector<std::vector<float>> apart(3, inputs.y);
  run_cuda(of_normed, weights, apart, {.rounded = true}, gemm);
  std::vector<std::vector<float>> fused(3, inputs.y);
  run_cuda(p, weights, fused, {.norm_weight = weight.data()}, gemm);
  for (size_t i = 0; i < fused.size(); ++i) {
    SCOPED_TRACE(i);
    expect_same_bits(fused[i], apart[i]);
  }
  if (p.bias == nullptr && !p.accumulate) {
    const DeviceWeight gate_up[] = {first.weight, third.weight};
    std::vector<std::vector<float>> swiglu(2, inputs.y);
    run_cuda(of_normed, gate_up, swiglu, {.swiglu = true, .rounded = true}, gemm);
    std::vector<std::vector<float>> normed_swiglu(2, inputs.y);
    run_cuda(p, gate_up, normed_swiglu, {.swiglu = true, .norm_weight = weight.data()}, gemm);
    expect_same_bits(normed_swiglu[0], swiglu[0]);
  }
}

TEST_P(LinearCudaNormTest, NormsInItsLaunchAreThoseOfTheirKernelToTheBit) {
  const Form form = GetParam();
  if (form.format == DeviceFormat::kF32) {
    return;  // keeps f32 activations
  }
  for (const int64_t in_features : {256, 768, 4096, 9216}) {
    const std::vector<float> weight = test::Random(7).normals(in_features);
    for (const int64_t rows : {1, 2, 3, 4, 5, 9, 16}) {
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(in_features));
      const bool odd = rows % 2 == 1;
      LinearInputs inputs({"norm", rows, in_features, 37, odd, odd, 4, 3, 0}, DType::kF32, false);
      expect_norm(form, inputs, weight, gemm_.get());
    }
  }
  // Twenty rows, sixteen at a time.
  const std::vector<float> weight = test::Random(7).normals(512);
  expect_norm(form, LinearInputs({"norm", 20, 512, 37, true, true, 0, 0, 0}, DType::kF32, false),
              weight, nullptr);
}

TEST_P(LinearCudaNormTest, NormsMatchReference) {
  const Form form = GetParam();
  if (form.format == DeviceFormat::kF32) {
    return;  // keeps f32 activations
  }
  for (const int64_t rows : {1, 3, 4, 6}) {
    LinearInputs expected({"norm", rows, 2304, 41, true, true, 4, 2, 0}, DType::kF32, true);
    expected.params.exact = false;
    const PackedWeight packed(form, 2304, 41);
    const std::vector<float> weight = test::Random(7).normals(2304);
    std::vector<std::vector<float>> ys = {expected.y};
    run_cuda(expected.params, {&packed.weight, 1}, ys, {.norm_weight = weight.data()}, gemm_.get());

    const std::vector<float> normed = normed_rows(expected.params, weight);
    expected.params.x = normed.data();
    expected.params.weight = reinterpret_cast<const std::byte*>(packed.values().data());
    reference::linear(expected.params);
    LinearInputs actual({"norm", rows, 2304, 41, true, true, 4, 2, 0}, DType::kF32, true);
    actual.y = ys[0];
    // Every factor is off by half a unit of bf16's last place, and a little that f32 adds.
    const double tolerance = 0x1.02p-8 * largest_magnitude(expected.params);
    EXPECT_TRUE(test::within(actual.outputs(), expected.outputs(), tolerance)) << rows << " rows";
    EXPECT_TRUE(actual.padding_untouched());
  }
}

// A row that is not finite spoils itself alone.
TEST_P(LinearCudaNormTest, NaNAndInfinityStayInTheirRows) {
  const Form form = GetParam();
  if (form.format == DeviceFormat::kF32) {
    return;  // keeps f32 activations
  }
  constexpr int64_t kInputs = 512;
  const PackedWeight packed(form, kInputs, 19);
  const std::vector<float> weight(kInputs, 1.5F);
  for (const Call& call : {Call{}, Call{.rounded = true}, Call{.norm_weight = weight.data()}}) {
    LinearInputs inputs({"rows", 4, kInputs, 19, false, false, 0, 0, 0}, DType::kF32, false);
    std::vector<std::vector<float>> wanted = {inputs.y};
    run_cuda(inputs.params, {&packed.weight, 1}, wanted, call, gemm_.get());
    inputs.x[kInputs + 77] = std::nanf("");
    inputs.x[3 * kInputs - 1] = std::numeric_limits<float>::infinity();
    std::vector<std::vector<float>> ys = {inputs.y};
    run_cuda(inputs.params, {&packed.weight, 1}, ys, call, gemm_.get());
    for (size_t i = 0; i < ys[0].size(); ++i) {
      const size_t row = i / 19;
      if (row == 1) {
        EXPECT_TRUE(std::isnan(ys[0][i])) << i;
      } else if (row == 2) {
        EXPECT_FALSE(std::isfinite(ys[0][i])) << i;
      } else {
        EXPECT_EQ(ys[0][i], wanted[0][i]) << i;
      }
    }
  }
}

}  // namespace
}  // namespace lychee::linear
