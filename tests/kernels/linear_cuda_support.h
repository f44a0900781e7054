#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/linear/device_linear.h"
#include "kernels/linear_support.h"
#include "support/random.h"
#include "tensor/device_buffer.h"

// What the tests of linear layers on a GPU share.
namespace lychee::linear {

// A device format and the dtype of the file it is made from.
struct Form {
  DeviceFormat format;
  DType dtype;
};
inline constexpr Form kForms[] = {
    {DeviceFormat::kF32, DType::kF32},     {DeviceFormat::kF16, DType::kF16},
    {DeviceFormat::kBF16, DType::kBF16},   {DeviceFormat::kFp8, DType::kF32},
    {DeviceFormat::kInt8, DType::kBF16},   {DeviceFormat::kInt4, DType::kF32},
    {DeviceFormat::kInt4G32, DType::kF16}, {DeviceFormat::kInt4G32, DType::kQ4_0},
    {DeviceFormat::kQ4_1, DType::kQ4_1},   {DeviceFormat::kQ5_0, DType::kQ5_0},
    {DeviceFormat::kQ5_1, DType::kQ5_1},   {DeviceFormat::kQ8_0, DType::kQ8_0},
    {DeviceFormat::kQ4_K, DType::kQ4_K},   {DeviceFormat::kQ5_K, DType::kQ5_K},
    {DeviceFormat::kQ6_K, DType::kQ6_K},
};

// All of kForms where there is a GPU.
[[nodiscard]] std::vector<Form> cuda_forms();
// As the name of a test.
[[nodiscard]] std::string form_name(const Form& form);

[[nodiscard]] std::vector<std::byte> pack(const Form& form, const std::byte* src, int64_t rows,
                                          int64_t inputs);
[[nodiscard]] std::vector<float> to_bf16(std::vector<float> values);

// A weight of `form` on the device, and its values.
class PackedWeight {
 public:
  PackedWeight(const Form& form, int64_t inputs, int64_t outputs, uint32_t seed = test::kSeed + 1);

  [[nodiscard]] const std::byte* file() const { return file_.data(); }
  [[nodiscard]] const std::vector<float>& values() const { return values_; }
  [[nodiscard]] bool padding_untouched() const { return padding_untouched_; }

  DeviceWeight weight{};

 private:
  RandomWeight file_;
  std::vector<float> values_;
  DeviceBuffer data_;
  bool padding_untouched_ = true;
};

// How a call takes rows and leaves results, beside what LinearParams says.
struct Call {
  bool swiglu = false;
  bool rounded = false;                    // rows are rounded before it
  const float* norm_weight = nullptr;      // of p.in_features
  std::vector<bf16>* swiglu_to = nullptr;  // instead of the first y
};
inline constexpr float kEps = 1e-5F;

// Of one form, with cuBLASLt.
class LinearOnCuda : public testing::TestWithParam<Form> {
 protected:
  void SetUp() override { gemm_ = std::make_unique<DeviceGemm>(); }
  std::unique_ptr<DeviceGemm> gemm_;
};

// Runs on the device; the `ys` are changed in place.
void run_cuda(const LinearParams& p, std::span<const DeviceWeight> weights,
              std::vector<std::vector<float>>& ys, const Call& call, const DeviceGemm* gemm);

// NaN, which stands where nothing was written, agrees with itself.
void expect_same_bits(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace lychee::linear
