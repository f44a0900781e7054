// The CUDA backend's linear layers against reference::linear, for every form of weights in device
// memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/linear_cuda_support.h"
#include "support/compare.h"
#include "support/device_mirror.h"
#include "support/random.h"

namespace lychee::linear {
namespace {

struct Case {
  const char* name;
  int64_t num_rows, in_features, out_features;
  bool bias, accumulate, exact;
  int64_t x_padding, y_padding;
};
constexpr Case kCases[] = {
    {"one_row_one_output", 1, 256, 1, false, false, false, 0, 0},
    {"one_row", 1, 768, 49, true, false, false, 0, 0},
    {"rows_strided", 3, 512, 23, true, true, false, 5, 3},
    {"eight_rows", 8, 2304, 40, false, true, false, 4, 0},
    {"nine_rows", 9, 256, 129, false, false, false, 0, 1},
    {"long_rows_sliced", 16, 14336, 33, true, true, false, 0, 0},
    {"more_tiles_than_blocks", 2, 256, 4500, false, false, false, 0, 0},
    {"sliced_more_tiles", 13, 2304, 2300, false, false, false, 0, 0},
    {"long_rows_in_one_slice", 4, 14336, 33, false, true, false, 8, 0},
    {"sixteen_rows", 16, 4096, 70, true, true, false, 0, 0},
    {"exact", 5, 768, 49, true, true, true, 3, 2},
    {"prefill", 40, 768, 49, true, true, false, 8, 5},
    {"prefill_exact", 17, 512, 7, false, false, true, 0, 0},
};
// Lengths that no tile divides.
constexpr Case kBlockCases[] = {
    {"one_group", 1, 32, 9, false, false, false, 0, 0},
    {"partial_tile", 4, 160, 17, true, true, false, 0, 0},
    {"smollm", 2, 576, 192, false, false, false, 0, 0},
    {"unaligned_rows", 6, 4128, 35, false, true, false, 1, 2},
};
constexpr Case kRaggedCases[] = {
    {"one_input", 1, 1, 9, true, false, false, 0, 0},
    {"ragged", 3, 61, 17, false, true, false, 2, 3},
    {"half_a_piece", 2, 4100, 17, false, false, false, 0, 0},
    {"aligned_but_for_the_end", 7, 4102, 17, true, false, false, 2, 0},
    {"ragged_prefill", 20, 61, 17, true, true, false, 2, 3},
};

bool fits(const Form& form, const Case& c) {
  return c.in_features % dtype_info(form.dtype).block_size == 0;
}

bool multiplies_integers(DeviceFormat format) {
  return format != DeviceFormat::kF32 && format != DeviceFormat::kF16 &&
         format != DeviceFormat::kBF16 && format != DeviceFormat::kFp8;
}

// What decoding multiplies with weights of integers: 64 inputs share a power of two as their scale,
// of which the largest is less than 2^14.
std::vector<float> to_integers(std::vector<float> rows, int64_t num_rows, int64_t in_features,
                               int64_t stride) {
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t begin = 0; begin < in_features; begin += 64) {
      const auto first = rows.begin() + row * stride + begin;
      const auto last = first + std::min<int64_t>(64, in_features - begin);
      float largest = 0;
      std::for_each(first, last, [&](float x) { largest = std::max(largest, std::fabs(x)); });
      const int exponent = largest == 0 ? 0 : std::ilogb(largest) - 13;
      std::for_each(first, last, [&](float& x) {
        x = std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent);
      });
    }
  }
  return rows;
}

class LinearCudaTest : public LinearOnCuda {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LinearCudaTest);
INSTANTIATE_TEST_SUITE_P(Cuda, LinearCudaTest, testing::ValuesIn(cuda_forms()),
                         [](const auto& info) { return form_name(info.param); });

void expect_matches_reference(const Case& c, const Form& form, const DeviceGemm* gemm) {
  SCOPED_TRACE(c.name);
  const LinearCase shape = {c.name,         c.num_rows,  c.in_features,
                            c.out_features, c.bias,      c.accumulate,
                            c.x_padding,    c.y_padding, 0};
  LinearInputs expected(shape, DType::kF32, true);
  const PackedWeight packed(form, c.in_features, c.out_features);
  const bool exact = c.exact || form.format == DeviceFormat::kF32;
  const bool gemm_path = !exact && c.num_rows > kMaxDeviceDecodeRows && gemm != nullptr;
  const std::vector<float> weight = gemm_path ? to_bf16(packed.values()) : packed.values();
  std::vector<std::vector<float>> ys = {expected.y};
  expected.params.exact = c.exact;
  run_cuda(expected.params, {&packed.weight, 1}, ys, {}, gemm);
  if (!exact && !gemm_path) {
    std::vector<std::vector<float>> of_rounded = {expected.y};
    run_cuda(expected.params, {&packed.weight, 1}, of_rounded, {.rounded = true}, gemm);
    expect_same_bits(of_rounded[0], ys[0]);
  }

  const std::vector<float> before = expected.outputs();
  std::vector<float> x = exact ? expected.x : to_bf16(expected.x);
  if (!exact && !gemm_path && multiplies_integers(form.format)) {
    x = to_integers(x, c.num_rows, c.in_features, expected.params.x_stride);
  }
  expected.params.x = x.data();
  expected.params.weight = reinterpret_cast<const std::byte*>(weight.data());
  const std::vector<float> plain = plain_linear(expected.params, before);
  reference::linear(expected.params);
  LinearInputs actual(shape, DType::kF32, true);
  actual.y = ys[0];
  const double atol = std::ldexp(largest_magnitude(expected.params), -22);
  EXPECT_TRUE(test::as_good_as_plain(actual.outputs(), plain, expected.outputs(), atol));
  EXPECT_TRUE(actual.padding_untouched());
}

TEST_P(LinearCudaTest, MatchesReference) {
  for (const auto& table : {std::span<const Case>(kCases), std::span<const Case>(kBlockCases),
                            std::span<const Case>(kRaggedCases)}) {
    for (const Case& c : table) {
      if (fits(GetParam(), c)) {
        expect_matches_reference(c, GetParam(), gemm_.get());
      }
    }
  }
}

TEST_P(LinearCudaTest, RowsGoSixteenAtATimeWithoutGemm) {
  expect_matches_reference({"slabs", 40, 512, 23, true, true, false, 5, 3}, GetParam(), nullptr);
}

// What lies in device memory are the file's values, or their nearest neighbours.
TEST_P(LinearCudaTest, EmbeddingGivesTheFilesValues) {
  const Form form = GetParam();
  const PackedWeight packed(form, 512, 35);
  EXPECT_TRUE(packed.padding_untouched());
  std::vector<float> file(packed.values().size());
  dequantize(form.dtype, packed.file(), static_cast<int64_t>(file.size()), file.data());
  if (device_format(form.dtype) == form.format) {
    float largest = 0;
    for (const float value : file) {
      largest = std::max(largest, std::fabs(value));
    }
    EXPECT_TRUE(test::within(packed.values(), file, std::ldexp(largest, -22)));
    return;
  }
  // Half a step of a group of 64 (a row for fp8, whose steps are relative).
  for (size_t begin = 0; begin < file.size(); begin += 32) {
    float largest = 0;
    const size_t group = form.format == DeviceFormat::kInt4G32 ? 32 : 64;
    for (size_t i = begin / group * group; i < begin / group * group + group; ++i) {
      largest = std::max(largest, std::fabs(file[i]));
    }
    for (size_t i = begin; i < begin + 32; ++i) {
      const double steps = form.format == DeviceFormat::kInt8 ? 127 : 8;
      const double half = form.format == DeviceFormat::kFp8
                              ? std::fabs(file[i]) / 16 + 6.0 / 448 / 512
                              : largest / steps * (0.5 + 1e-3);
      // A magnitude equal to the largest on the other side has one step less.
      const double tolerance = steps == 8 && form.format != DeviceFormat::kFp8 ? 2 * half : half;
      ASSERT_NEAR(packed.values()[i], file[i], tolerance) << i;
    }
  }
}

TEST_P(LinearCudaTest, RowsDoNotDependOnTheirNumber) {
  const Form form = GetParam();
  for (const int64_t inputs : {512, 9216}) {
    const LinearCase shape = {"rows", 16, inputs, 49, true, true, 0, 0, 0};
    const PackedWeight packed(form, inputs, 49);
    LinearInputs inputs_of_all(shape, DType::kF32, false);
    std::vector<std::vector<float>> all = {inputs_of_all.y};
    run_cuda(inputs_of_all.params, {&packed.weight, 1}, all, {}, gemm_.get());
    std::vector<std::vector<float>> again = {inputs_of_all.y};
    run_cuda(inputs_of_all.params, {&packed.weight, 1}, again, {}, gemm_.get());
    EXPECT_EQ(all, again);
    for (const int64_t count : {1, 2, 3, 5, 8, 9}) {
      LinearInputs some(shape, DType::kF32, false);
      some.params.num_rows = count;
      some.params.x += 7 * some.params.x_stride;
      const auto begin = inputs_of_all.y.begin() + 7 * 49;
      std::vector<std::vector<float>> ys = {{begin, begin + count * 49}};
      run_cuda(some.params, {&packed.weight, 1}, ys, {}, gemm_.get());
      const auto wanted = all[0].begin() + 7 * 49;
      EXPECT_EQ(ys[0], std::vector<float>(wanted, wanted + count * 49)) << count << " rows";
    }
  }
}

TEST_P(LinearCudaTest, SeveralTargetsEqualTheirPartsToTheBit) {
  const Form form = GetParam();
  for (const int64_t rows : {1, 11, 20}) {
    const LinearCase shape = {"part", rows, 4608, 23, true, true, 0, 0, 0};
    const LinearInputs inputs(shape, DType::kF32, false);
    // The last is of another form, so that one call takes two launches.
    const PackedWeight first(form, 4608, 23, 1);
    const PackedWeight second(form, 4608, 23, 2);
    const PackedWeight third({DeviceFormat::kQ8_0, DType::kQ8_0}, 4608, 23, 3);
    const DeviceWeight weights[] = {first.weight, second.weight, third.weight};
    std::vector<std::vector<float>> together(3, inputs.y);
    LinearParams params = inputs.params;
    run_cuda(params, weights, together, {}, gemm_.get());
    for (size_t i = 0; i < 3; ++i) {
      std::vector<std::vector<float>> alone = {inputs.y};
      params.exact = form.format == DeviceFormat::kF32;  // as the F32 weight makes the whole call
      run_cuda(params, {&weights[i], 1}, alone, {}, gemm_.get());
      EXPECT_EQ(alone[0], together[i]) << i << ", rows " << rows;
    }
  }
}

// The results of a SwiGLU, rounded, and nothing behind them.
void expect_rounded_swiglu(const LinearInputs& inputs, std::span<const DeviceWeight> weights,
                           const std::vector<float>& wanted, const DeviceGemm* gemm) {
  const LinearParams& p = inputs.params;
  std::vector<bf16> results(static_cast<size_t>((p.num_rows + 1) * p.out_features),
                            bf16(std::nanf("")));
  std::vector<std::vector<float>> ys(2, inputs.y);
  run_cuda(p, weights, ys, {.swiglu = true, .rounded = true, .swiglu_to = &results}, gemm);
  for (int64_t i = 0; i < std::ssize(results); ++i) {
    const float actual = static_cast<float>(results[static_cast<size_t>(i)]);
    if (i >= p.num_rows * p.out_features) {
      ASSERT_TRUE(std::isnan(actual)) << i;
      continue;
    }
    const int64_t at = i / p.out_features * p.y_stride + i % p.out_features;
    ASSERT_EQ(actual, static_cast<float>(bf16(wanted[static_cast<size_t>(at)]))) << i;
  }
  expect_same_bits(ys[0], inputs.y);  // untouched
}

void expect_swiglu(const Form& gate_form, const Form& up_form, bool bias, const DeviceGemm* gemm) {
  for (const int64_t rows : {1, 11, 20}) {
    const LinearCase shape = {"swiglu", rows, 4608, 77, bias, false, 0, 3, 0};
    const LinearInputs inputs(shape, DType::kF32, false);
    const PackedWeight gate(gate_form, 4608, 77, 1);
    const PackedWeight up(up_form, 4608, 77, 2);
    const DeviceWeight weights[] = {gate.weight, up.weight};
    std::vector<std::vector<float>> apart(2, inputs.y);
    run_cuda(inputs.params, weights, apart, {}, gemm);
    std::vector<std::vector<float>> fused(2, inputs.y);
    run_cuda(inputs.params, weights, fused, {.swiglu = true}, gemm);
    const bool f32 = gate_form.format == DeviceFormat::kF32 || up_form.format == DeviceFormat::kF32;
    if (!f32 && (rows <= kMaxDeviceDecodeRows || gemm == nullptr)) {
      expect_rounded_swiglu(inputs, weights, fused[0], gemm);
    }
    for (size_t i = 0; i < fused[0].size(); ++i) {
      const double g = apart[0][i];
      const double wanted = g / (1 + std::exp(-g)) * double{apart[1][i]};
      ASSERT_EQ(std::isnan(fused[0][i]), std::isnan(wanted)) << i;  // padding
      if (!std::isnan(wanted)) {
        ASSERT_NEAR(fused[0][i], wanted, std::fabs(wanted) * 1e-5 + 1e-6) << i << ", rows " << rows;
      }
    }
  }
}

TEST_P(LinearCudaTest, SwigluIsSiluOfGateTimesUp) {
  expect_swiglu(GetParam(), GetParam(), false, gemm_.get());
}

TEST_P(LinearCudaTest, SwigluTakesBiasesAndTwoFormats) {
  constexpr Form kOther = {DeviceFormat::kQ8_0, DType::kQ8_0};
  expect_swiglu(GetParam(), GetParam(), true, gemm_.get());
  expect_swiglu(GetParam(), kOther, false, gemm_.get());
  expect_swiglu(kOther, GetParam(), true, gemm_.get());
  expect_swiglu(GetParam(), kOther, true, nullptr);  // sixteen rows at a time
}

TEST_P(LinearCudaTest, RoundedRowsDoNotDependOnTheirNumber) {
  const Form form = GetParam();
  if (form.format == DeviceFormat::kF32) {
    return;  // keeps f32 activations
  }
  for (const int64_t inputs : {512, 4864, 14336}) {
    const LinearCase shape = {"rows", 16, inputs, 49, true, true, 8, 0, 0};
    const PackedWeight packed(form, inputs, 49);
    LinearInputs all(shape, DType::kF32, false);
    std::vector<std::vector<float>> wanted = {all.y};
    run_cuda(all.params, {&packed.weight, 1}, wanted, {}, gemm_.get());
    for (int64_t count = 1; count <= 16; ++count) {
      LinearInputs some(shape, DType::kF32, false);
      some.params.num_rows = count;
      std::vector<std::vector<float>> ys = {{all.y.begin(), all.y.begin() + count * 49}};
      run_cuda(some.params, {&packed.weight, 1}, ys, {.rounded = true}, gemm_.get());
      SCOPED_TRACE(count);
      expect_same_bits(ys[0], {wanted[0].begin(), wanted[0].begin() + count * 49});
    }
  }
}

// Rows that are rounded already, of neighbours in memory (one product) and of strangers.
TEST_P(LinearCudaTest, PromptsTakeRoundedRows) {
  const Form form = GetParam();
  if (form.format == DeviceFormat::kF32) {
    return;  // keeps f32 activations
  }
  constexpr int64_t kRows = 40;
  constexpr int64_t kInputs = 768;
  constexpr int64_t kOutputs = 56;
  for (const bool accumulate : {false, true}) {
    LinearInputs inputs({"prompt", kRows, kInputs, kOutputs, false, accumulate, 8, 0, 0},
                        DType::kF32, true);
    std::vector<bf16> x;
    for (float& value : inputs.x) {
      value = static_cast<float>(x.emplace_back(value));
    }
    // The rows of one weight as two: they follow each other, and so do their results.
    const PackedWeight packed(form, kInputs, 2 * kOutputs);
    const int64_t half = device_weight_bytes(form.format, kInputs, kOutputs);
    test::DeviceMirror mirror;
    std::vector<float> y(static_cast<size_t>(kRows * 2 * kOutputs), 0.5F);
    float* device_y = mirror.output(y);
    const DeviceLinearTarget targets[] = {
        {{form.format, kInputs, kOutputs, packed.weight.data}, nullptr, device_y, 2 * kOutputs},
        {{form.format, kInputs, kOutputs, packed.weight.data + half},
         nullptr,
         device_y + kOutputs,
         2 * kOutputs}};
    PromptLinearParams params = {kRows,      kInputs, mirror.input(x), kInputs + 8, targets,
                                 accumulate, nullptr, gemm_.get(),     nullptr};
    std::vector<bf16> swiglu(static_cast<size_t>(kRows * kOutputs), bf16(std::nanf("")));
    PromptLinearParams gated = params;
    gated.accumulate = false;
    gated.swiglu = mirror.output(swiglu);
    const DeviceBuffer workspace(cuda::prompt_linear_workspace_bytes(gated));
    params.workspace = gated.workspace = workspace.data();
    cuda::prompt_linear(params, mirror.stream());
    cuda::prompt_linear(gated, mirror.stream());
    mirror.finish();

    const std::vector<float> weight = to_bf16(packed.values());
    double largest = 0;
    std::vector<double> wanted;
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t o = 0; o < 2 * kOutputs; ++o) {
        double sum = 0;
        double magnitude = 0;
        for (int64_t i = 0; i < kInputs; ++i) {
          const double product = double{inputs.x[static_cast<size_t>(r * (kInputs + 8) + i)]} *
                                 double{weight[static_cast<size_t>(o * kInputs + i)]};
          sum += product;
          magnitude += std::fabs(product);
        }
        wanted.push_back(sum);
        largest = std::max(largest, magnitude);
      }
    }
    const double tolerance = std::ldexp(largest, -20);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t o = 0; o < 2 * kOutputs; ++o) {
        const auto i = static_cast<size_t>(r * 2 * kOutputs + o);
        ASSERT_NEAR(y[i], wanted[i] + (accumulate ? 0.5 : 0.0), tolerance) << r << ", " << o;
      }
      for (int64_t o = 0; o < kOutputs; ++o) {
        const double gate = wanted[static_cast<size_t>(r * 2 * kOutputs + o)];
        const double up = wanted[static_cast<size_t>(r * 2 * kOutputs + kOutputs + o)];
        const double product = gate / (1 + std::exp(-gate)) * up;
        // Gate, up and their product are rounded; silu's slope is at most 1.1.
        const double rounding = 0x1p-8 * (1.1 * std::fabs(gate * up) + 2 * std::fabs(product));
        ASSERT_NEAR(static_cast<float>(swiglu[static_cast<size_t>(r * kOutputs + o)]), product,
                    rounding + (std::fabs(gate) + std::fabs(up)) * tolerance * 1.1 + 1e-6)
            << r << ", " << o;
      }
    }
  }
}

}  // namespace
}  // namespace lychee::linear
