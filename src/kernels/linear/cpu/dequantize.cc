#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/dequantize.cc"
#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <cstring>

#include "kernels/linear/linear.h"

// Plain loops, which the compiler vectorises for each instruction set.
HWY_BEFORE_NAMESPACE();
namespace lychee::linear::HWY_NAMESPACE {

float read_f16(const std::byte* src) {
  f16 half;
  std::memcpy(&half.bits, src, sizeof(half.bits));
  return static_cast<float>(half);
}

int byte_at(const std::byte* src, int64_t i) {
  return std::to_integer<int>(src[i]);
}

// The blocks of 32. Low nibbles are values 0 to 15, high ones 16 to 31; fifth bits lie in order.
void q4_0(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  for (int i = 0; i < 16; ++i) {
    const int pair = byte_at(block, 2 + i);
    dst[i] = scale * static_cast<float>((pair & 15) - 8);
    dst[i + 16] = scale * static_cast<float>((pair >> 4) - 8);
  }
}

void q4_1(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  const float min = read_f16(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int pair = byte_at(block, 4 + i);
    dst[i] = scale * static_cast<float>(pair & 15) + min;
    dst[i + 16] = scale * static_cast<float>(pair >> 4) + min;
  }
}

uint32_t read_bits(const std::byte* src) {
  uint32_t bits;
  std::memcpy(&bits, src, sizeof(bits));
  return bits;
}

int fifth_bit(uint32_t bits, int i) {
  return static_cast<int>(bits >> i & 1) << 4;
}

void q5_0(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  const uint32_t bits = read_bits(block + 2);
  for (int i = 0; i < 16; ++i) {
    const int pair = byte_at(block, 6 + i);
    const int low = (pair & 15) | fifth_bit(bits, i);
    const int high = (pair >> 4) | fifth_bit(bits, i + 16);
    dst[i] = scale * static_cast<float>(low - 16);
    dst[i + 16] = scale * static_cast<float>(high - 16);
  }
}

void q5_1(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  const float min = read_f16(block + 2);
  const uint32_t bits = read_bits(block + 4);
  for (int i = 0; i < 16; ++i) {
    const int pair = byte_at(block, 8 + i);
    const int low = (pair & 15) | fifth_bit(bits, i);
    const int high = (pair >> 4) | fifth_bit(bits, i + 16);
    dst[i] = scale * static_cast<float>(low) + min;
    dst[i + 16] = scale * static_cast<float>(high) + min;
  }
}

void q8_0(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  for (int i = 0; i < 32; ++i) {
    dst[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  }
}

// The 6-bit scale and minimum of sub-block `j` of 32, out of the 12 bytes that hold eight of each:
// bytes 0-3 and 4-7 have the first four whole, the upper two bits of the others on top; bytes 8-11
// have the lower four bits of the others.
struct ScaleMin {
  int scale, min;
};

ScaleMin k_scale_min(const std::byte* packed, int j) {
  if (j < 4) {
    return {byte_at(packed, j) & 63, byte_at(packed, j + 4) & 63};
  }
  const int low = byte_at(packed, j + 4);
  return {(low & 15) | (byte_at(packed, j - 4) >> 6 << 4),
          (low >> 4) | (byte_at(packed, j) >> 6 << 4)};
}

// The blocks of 256. Every 32 bytes of nibbles hold two sub-blocks, the low nibbles first.
void q4_k(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  const float min = read_f16(block + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = k_scale_min(block + 4, j);
    const float sub_scale = scale * static_cast<float>(sub.scale);
    const float sub_min = min * static_cast<float>(sub.min);
    const std::byte* nibbles = block + 16 + j / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int q = byte_at(nibbles, i) >> (j % 2 * 4) & 15;
      dst[j * 32 + i] = sub_scale * static_cast<float>(q) - sub_min;
    }
  }
}

void q5_k(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block);
  const float min = read_f16(block + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin sub = k_scale_min(block + 4, j);
    const float sub_scale = scale * static_cast<float>(sub.scale);
    const float sub_min = min * static_cast<float>(sub.min);
    const std::byte* nibbles = block + 48 + j / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int fifth = (byte_at(block, 16 + i) >> j & 1) << 4;
      const int q = (byte_at(nibbles, i) >> (j % 2 * 4) & 15) | fifth;
      dst[j * 32 + i] = sub_scale * static_cast<float>(q) - sub_min;
    }
  }
}

// Two halves of 128 values: 64 bytes of lower nibbles, 32 bytes of upper bit pairs; a signed scale
// for every 16 values.
void q6_k(const std::byte* HWY_RESTRICT block, float* HWY_RESTRICT dst) {
  const float scale = read_f16(block + 208);
  for (int j = 0; j < 16; ++j) {
    const int group = j / 2 % 4;  // of 32 values, within its half
    const std::byte* low = block + j / 8 * 64 + group % 2 * 32 + j % 2 * 16;
    const std::byte* high = block + 128 + j / 8 * 32 + j % 2 * 16;
    const float sub_scale = scale * static_cast<float>(static_cast<int8_t>(block[192 + j]));
    for (int i = 0; i < 16; ++i) {
      const int nibble = byte_at(low, i) >> (group / 2 * 4) & 15;
      const int top = byte_at(high, i) >> (group * 2) & 3;
      dst[j * 16 + i] = sub_scale * static_cast<float>((nibble | top << 4) - 32);
    }
  }
}

void widen_bf16(const std::byte* HWY_RESTRICT src, int64_t count, float* HWY_RESTRICT dst) {
  for (int64_t i = 0; i < count; ++i) {
    bf16 value;
    std::memcpy(&value.bits, src + 2 * i, sizeof(value.bits));
    dst[i] = static_cast<float>(value);
  }
}

void widen_f16(const std::byte* HWY_RESTRICT src, int64_t count, float* HWY_RESTRICT dst) {
  for (int64_t i = 0; i < count; ++i) {
    dst[i] = read_f16(src + 2 * i);
  }
}

template <typename Block>
void each_block(DType dtype, const std::byte* HWY_RESTRICT src, int64_t count, float* dst,
                Block&& block) {
  const DTypeInfo& info = dtype_info(dtype);
  for (int64_t i = 0; i < count / info.block_size; ++i) {
    block(src + i * info.block_bytes, dst + i * info.block_size);
  }
}

void widen(DType dtype, const std::byte* HWY_RESTRICT src, int64_t count, float* HWY_RESTRICT dst) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(dst, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return widen_f16(src, count, dst);
    case DType::kBF16:
      return widen_bf16(src, count, dst);
    case DType::kQ4_0:
      return each_block(dtype, src, count, dst, q4_0);
    case DType::kQ4_1:
      return each_block(dtype, src, count, dst, q4_1);
    case DType::kQ5_0:
      return each_block(dtype, src, count, dst, q5_0);
    case DType::kQ5_1:
      return each_block(dtype, src, count, dst, q5_1);
    case DType::kQ8_0:
      return each_block(dtype, src, count, dst, q8_0);
    case DType::kQ4_K:
      return each_block(dtype, src, count, dst, q4_k);
    case DType::kQ5_K:
      return each_block(dtype, src, count, dst, q5_k);
    case DType::kQ6_K:
      return each_block(dtype, src, count, dst, q6_k);
  }
}

}  // namespace lychee::linear::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::linear {

HWY_EXPORT(widen);

void dequantize(DType dtype, const std::byte* src, int64_t count, float* dst) {
  HWY_DYNAMIC_DISPATCH(widen)(dtype, src, count, dst);
}

}  // namespace lychee::linear
#endif
