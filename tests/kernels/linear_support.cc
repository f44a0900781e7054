#include "kernels/linear_support.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/random.h"

namespace lychee::linear {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Bytes of a block at which half-precision scales lie.
std::vector<int64_t> scale_bytes(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
      return {0};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ6_K:
      return {208};
    default:
      return {};
  }
}

void store_plain(DType dtype, float value, std::byte* dst) {
  if (dtype == DType::kF32) {
    std::memcpy(dst, &value, sizeof(value));
  } else {
    const uint16_t bits = dtype == DType::kF16 ? f16(value).bits : bf16(value).bits;
    std::memcpy(dst, &bits, sizeof(bits));
  }
}

}  // namespace

RandomWeight::RandomWeight(DType dtype, int64_t count, uint32_t seed, int64_t misalignment)
    : bytes_(static_cast<size_t>(dtype_bytes(dtype, count) + misalignment)),
      misalignment_(misalignment) {
  test::Random random(seed);
  const DTypeInfo& info = dtype_info(dtype);
  for (int64_t i = 0; i < count / info.block_size; ++i) {
    std::byte* block = bytes_.data() + misalignment + i * info.block_bytes;
    if (!is_quantized(dtype)) {
      store_plain(dtype, random.normal(), block);
      continue;
    }
    for (int b = 0; b < info.block_bytes; ++b) {
      block[b] = static_cast<std::byte>(random.integer(0, 255));
    }
    for (const int64_t at : scale_bytes(dtype)) {
      store_plain(DType::kF16, random.uniform(-0.0625F, 0.0625F), block + at);
    }
  }
}

LinearInputs::LinearInputs(const LinearCase& c, DType dtype, bool exact)
    : weight(dtype, c.in_features * c.out_features, test::kSeed + 1, c.misalignment) {
  test::Random random;
  const int64_t x_stride = c.in_features + c.x_padding;
  const int64_t y_stride = c.out_features + c.y_padding;
  x = random.normals(c.num_rows * x_stride);
  bias = random.normals(c.out_features);
  y.assign(static_cast<size_t>(c.num_rows * y_stride), kNaN);
  for (int64_t r = 0; r < c.num_rows; ++r) {
    std::fill_n(x.begin() + r * x_stride + c.in_features, c.x_padding, kNaN);
    for (int64_t o = 0; c.accumulate && o < c.out_features; ++o) {
      y[static_cast<size_t>(r * y_stride + o)] = random.normal();
    }
  }
  params = {c.num_rows, c.in_features, c.out_features, x.data(),
            x_stride,   dtype,         weight.data(),  c.bias ? bias.data() : nullptr,
            y.data(),   y_stride,      c.accumulate,   exact,
            nullptr};
}

void LinearInputs::run_cpu() {
  const int64_t bytes = cpu::linear_workspace_bytes(params);
  workspace.assign(static_cast<size_t>(bytes + 64 + 64), std::byte{0xff});
  const auto address = std::bit_cast<uintptr_t>(workspace.data());
  std::byte* aligned = workspace.data() + (64 - address % 64) % 64;
  params.workspace = aligned;
  cpu::linear(params);
}

std::vector<float> LinearInputs::outputs() const {
  std::vector<float> dense;
  for (int64_t r = 0; r < params.num_rows; ++r) {
    const auto row = y.begin() + r * params.y_stride;
    dense.insert(dense.end(), row, row + params.out_features);
  }
  return dense;
}

bool LinearInputs::padding_untouched() const {
  for (int64_t r = 0; r < params.num_rows; ++r) {
    for (int64_t o = params.out_features; o < params.y_stride; ++o) {
      if (!std::isnan(y[static_cast<size_t>(r * params.y_stride + o)])) {
        return false;
      }
    }
  }
  return true;
}

std::vector<float> rounded(const std::vector<float>& x, int64_t num_rows, int64_t in_features,
                           int64_t stride) {
  std::vector<float> values = x;
  for (int64_t r = 0; r < num_rows; ++r) {
    for (int64_t g = 0; g < in_features; g += 32) {
      float* group = values.data() + r * stride + g;
      float largest = 0;
      for (int i = 0; i < 32; ++i) {
        largest = std::max(largest, std::fabs(group[i]));
      }
      for (int i = 0; i < 32 && largest > 0; ++i) {
        group[i] = std::nearbyint(group[i] * (127.0F / largest)) * (largest / 127.0F);
      }
    }
  }
  return values;
}

std::vector<float> plain_linear(const LinearParams& p, const std::vector<float>& y_before) {
  std::vector<float> result;
  std::vector<float> weight(static_cast<size_t>(p.in_features * p.out_features));
  dequantize(p.weight_dtype, p.weight, p.in_features * p.out_features, weight.data());
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int64_t o = 0; o < p.out_features; ++o) {
      float sum = 0;
      for (int64_t i = 0; i < p.in_features; ++i) {
        sum += p.x[r * p.x_stride + i] * weight[static_cast<size_t>(o * p.in_features + i)];
      }
      sum += p.bias != nullptr ? p.bias[o] : 0.0F;
      result.push_back(p.accumulate ? y_before[result.size()] + sum : sum);
    }
  }
  return result;
}

double largest_magnitude(const LinearParams& p) {
  std::vector<float> weight(static_cast<size_t>(p.in_features * p.out_features));
  dequantize(p.weight_dtype, p.weight, p.in_features * p.out_features, weight.data());
  double largest = 0;
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int64_t o = 0; o < p.out_features; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < p.in_features; ++i) {
        sum += std::fabs(double{p.x[r * p.x_stride + i]} *
                         double{weight[static_cast<size_t>(o * p.in_features + i)]});
      }
      largest = std::max(largest, sum);
    }
  }
  return largest;
}

}  // namespace lychee::linear
