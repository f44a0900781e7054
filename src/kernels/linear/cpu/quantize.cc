#include "kernels/linear/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/linear/linear.h"

namespace lychee::linear {

bool can_quantize_to(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kQ8_0 || dtype == DType::kQ4_0;
}

namespace {

constexpr int kBlock = 32;  // values of q8_0 and q4_0

template <typename T>
void round_values(const float* src, int64_t count, std::byte* dst) {
  for (int64_t i = 0; i < count; ++i) {
    const T value(src[i]);
    std::memcpy(dst + i * static_cast<int64_t>(sizeof(T)), &value, sizeof(value));
  }
}

// The scale as it is stored, and what to multiply with to get integers.
float write_scale(float scale, std::byte* block) {
  const f16 stored(scale);
  std::memcpy(block, &stored, sizeof(stored));
  const auto used = static_cast<float>(stored);
  return used == 0 ? 0 : 1 / used;
}

void round_q8_0(const float* src, std::byte* block) {
  float largest = 0;
  for (int i = 0; i < kBlock; ++i) {
    largest = std::max(largest, std::fabs(src[i]));
  }
  const float inverse = write_scale(largest / 127, block);
  for (int i = 0; i < kBlock; ++i) {
    const float q = std::clamp(std::nearbyint(src[i] * inverse), -128.0F, 127.0F);
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(q));
  }
}

// The value that is largest in magnitude becomes -8, the one integer without a counterpart.
void round_q4_0(const float* src, std::byte* block) {
  float extreme = 0;
  for (int i = 0; i < kBlock; ++i) {
    extreme = std::fabs(src[i]) > std::fabs(extreme) ? src[i] : extreme;
  }
  const float inverse = write_scale(extreme / -8, block);
  const auto nibble = [&](int i) {
    const float q = std::clamp(std::nearbyint(src[i] * inverse) + 8, 0.0F, 15.0F);
    return static_cast<unsigned>(q);
  };
  for (int i = 0; i < kBlock / 2; ++i) {
    block[2 + i] = static_cast<std::byte>(nibble(i) | nibble(i + kBlock / 2) << 4);
  }
}

void round_row(DType to, const float* src, int64_t count, std::byte* dst) {
  switch (to) {
    case DType::kF32:
      return round_values<float>(src, count, dst);
    case DType::kF16:
      return round_values<f16>(src, count, dst);
    case DType::kBF16:
      return round_values<bf16>(src, count, dst);
    default:
      break;
  }
  const auto round_block = to == DType::kQ8_0 ? round_q8_0 : round_q4_0;
  const int64_t block_bytes = dtype_info(to).block_bytes;
  for (int64_t i = 0; i < count / kBlock; ++i) {
    round_block(src + i * kBlock, dst + i * block_bytes);
  }
}

}  // namespace

namespace cpu {

void quantize(const QuantizeParams& p) {
  require(can_quantize_to(p.to), ErrorCode::kUnsupported, "cannot round weights to ",
          dtype_info(p.to).name);
  require(p.num_columns % dtype_info(p.to).block_size == 0, ErrorCode::kUnsupported, "rows of ",
          p.num_columns, " weights are no multiple of the ", dtype_info(p.to).name, " block of ",
          dtype_info(p.to).block_size);
  const int64_t src_bytes = dtype_bytes(p.from, p.num_columns);
  const int64_t dst_bytes = dtype_bytes(p.to, p.num_columns);
#pragma omp parallel
  {
    std::vector<float> row(static_cast<size_t>(p.num_columns));
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p.num_rows; ++i) {
      dequantize(p.from, p.src + i * src_bytes, p.num_columns, row.data());
      round_row(p.to, row.data(), p.num_columns, p.dst + i * dst_bytes);
    }
  }
}

}  // namespace cpu

}  // namespace lychee::linear
