#include "kernels/linear_cuda_support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "support/backends.h"
#include "support/device_mirror.h"

namespace lychee::linear {
namespace {

std::vector<bf16> rounded_rows(const float* x, int64_t count) {
  std::vector<bf16> rounded;
  for (int64_t i = 0; i < count; ++i) {
    rounded.emplace_back(x[i]);
  }
  return rounded;
}

}  // namespace

std::vector<Form> cuda_forms() {
  return cuda_available() ? std::vector<Form>(std::begin(kForms), std::end(kForms))
                          : std::vector<Form>{};
}

std::string form_name(const Form& form) {
  return std::string(device_format_info(form.format).name) + "_of_" +
         std::string(dtype_info(form.dtype).name);
}

std::vector<std::byte> pack(const Form& form, const std::byte* src, int64_t rows, int64_t inputs) {
  std::vector<std::byte> packed(static_cast<size_t>(device_weight_bytes(form.format, inputs, rows)),
                                std::byte{0xff});
  cpu::pack_device_weight(form.format, form.dtype, src, rows, inputs, packed.data());
  return packed;
}

std::vector<float> to_bf16(std::vector<float> values) {
  for (float& value : values) {
    value = static_cast<float>(bf16(value));
  }
  return values;
}

PackedWeight::PackedWeight(const Form& form, int64_t inputs, int64_t outputs, uint32_t seed)
    : file_(form.dtype, inputs * outputs, seed, 0), values_(static_cast<size_t>(inputs * outputs)) {
  const std::vector<std::byte> packed = pack(form, file_.data(), outputs, inputs);
  data_ = DeviceBuffer(static_cast<int64_t>(packed.size()));
  test::DeviceMirror mirror;
  copy_to_device(data_.data(), packed.data(), data_.bytes(), mirror.stream());
  weight = {form.format, inputs, outputs, data_.data()};
  // By another order than the one in which they lie.
  std::vector<int32_t> ids(static_cast<size_t>(outputs));
  for (int64_t i = 0; i < outputs; ++i) {
    ids[static_cast<size_t>(i)] = static_cast<int32_t>(outputs - 1 - i);
  }
  std::vector<float> reversed(values_.size() + static_cast<size_t>(outputs), std::nanf(""));
  float* device = mirror.output(reversed);
  cuda::embedding({outputs, mirror.input(ids.data(), outputs), weight, device, inputs + 1},
                  mirror.stream());
  mirror.finish();
  for (int64_t o = 0; o < outputs; ++o) {
    const auto row = reversed.begin() + (outputs - 1 - o) * (inputs + 1);
    std::copy(row, row + inputs, values_.begin() + o * inputs);
    padding_untouched_ = padding_untouched_ && std::isnan(row[inputs]);
  }
}

void run_cuda(const LinearParams& p, std::span<const DeviceWeight> weights,
              std::vector<std::vector<float>>& ys, const Call& call, const DeviceGemm* gemm) {
  test::DeviceMirror mirror;
  std::vector<DeviceLinearTarget> targets;
  for (size_t i = 0; i < weights.size(); ++i) {
    float* y = mirror.output(ys[i].data(), static_cast<int64_t>(ys[i].size()));
    targets.push_back(
        {weights[i], mirror.input(p.bias, p.bias != nullptr ? p.out_features : 0), y, p.y_stride});
  }
  const int64_t count = p.num_rows * p.x_stride;
  const auto scratch = [&] {
    return static_cast<bf16*>(mirror.scratch(p.num_rows * p.in_features * 2));
  };
  DeviceLinearParams params = {
      .num_rows = p.num_rows,
      .in_features = p.in_features,
      .x = call.rounded ? nullptr : mirror.input(p.x, count),
      .rounded_x = call.rounded ? mirror.input(rounded_rows(p.x, count)) : nullptr,
      .x_stride = p.x_stride,
      .norm = {mirror.input(call.norm_weight, call.norm_weight != nullptr ? p.in_features : 0),
               kEps, call.norm_weight != nullptr ? scratch() : nullptr},
      .targets = targets,
      .accumulate = p.accumulate,
      .swiglu = call.swiglu,
      .rounded_swiglu = call.swiglu_to != nullptr ? mirror.output(*call.swiglu_to) : nullptr,
      .exact = p.exact,
      .gemm = gemm,
      .workspace = nullptr};
  const DeviceBuffer workspace(cuda::linear_workspace_bytes(params));
  fill_on_device(workspace.data(), 0, workspace.bytes(), mirror.stream());
  params.workspace = workspace.data();
  cuda::linear(params, mirror.stream());
  mirror.finish();
}

void expect_same_bits(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const bool same = std::isnan(expected[i]) ? std::isnan(actual[i])
                                              : std::bit_cast<uint32_t>(actual[i]) ==
                                                    std::bit_cast<uint32_t>(expected[i]);
    ASSERT_TRUE(same) << i << ": " << actual[i] << " instead of " << expected[i];
  }
}

}  // namespace lychee::linear
