#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

namespace lychee {

// Storage-only bfloat16; arithmetic happens in float.
struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  explicit bf16(float value) {
    uint32_t word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffff) > 0x7f800000) {
      bits = static_cast<uint16_t>((word >> 16) | 0x40);  // rounding must not turn NaN into inf
      return;
    }
    word += 0x7fff + ((word >> 16) & 1);  // to nearest, ties to even
    bits = static_cast<uint16_t>(word >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

// Storage-only IEEE half, converted in integer arithmetic: g++ 12 has no half type that both x86
// and Arm know. Kernels convert in SIMD.
struct f16 {
  uint16_t bits = 0;

  f16() = default;
  explicit f16(float value) {
    const uint32_t word = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (word >> 16) & 0x8000;
    const uint32_t magnitude = word & 0x7fffffff;
    uint32_t half = 0;
    if (magnitude > 0x7f800000) {
      half = 0x7e00;  // NaN
    } else if (magnitude >= 0x47800000) {
      half = 0x7c00;  // 65536 and above, infinity included
    } else if (magnitude >= 0x38800000) {
      // Normal: re-bias the exponent by 15 - 127; rounding may carry into it, and into infinity.
      half = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    } else {
      // Denormal: adding 0.5 puts the bits that remain at the bottom, rounded to nearest even.
      const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
      half = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5F);
    }
    bits = static_cast<uint16_t>(sign | half);
  }
  explicit operator float() const {
    const uint32_t sign = uint32_t{bits & 0x8000U} << 16;
    const uint32_t magnitude = bits & 0x7fffU;
    if (magnitude >= 0x7c00) {  // infinity, NaN
      return std::bit_cast<float>(sign | 0x7f800000 | (magnitude << 13));
    }
    if (magnitude >= 0x400) {
      return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
    }
    const float denormal = static_cast<float>(magnitude) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(denormal));
  }
};

// Storage-only 8-bit float of 4 bits of exponent and 3 of mantissa, without infinity: values beyond
// ±448 are stored as ±448.
struct f8e4m3 {
  uint8_t bits = 0;

  f8e4m3() = default;
  explicit f8e4m3(float value) {
    const uint32_t word = std::bit_cast<uint32_t>(value);
    const uint32_t magnitude = word & 0x7fffffff;
    uint32_t small = 0;
    if (magnitude > 0x7f800000) {
      small = 0x7f;  // NaN
    } else if (magnitude >= 0x43e00000) {
      small = 0x7e;  // 448 and above
    } else if (magnitude >= 0x3c800000) {
      // Normal: re-bias the exponent by 7 - 127; to nearest, ties to even, may carry into it.
      small = (magnitude - 0x3c000000 + 0x7ffff + ((magnitude >> 20) & 1)) >> 20;
    } else {
      // Denormal, a multiple of 2^-9: adding 2^14 puts those bits at the bottom, rounded.
      const float shifted = std::bit_cast<float>(magnitude) + 0x1p14F;
      small = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0x1p14F);
    }
    bits = static_cast<uint8_t>((word >> 24 & 0x80) | small);
  }
  explicit operator float() const {
    const uint32_t sign = uint32_t{bits & 0x80U} << 24;
    const uint32_t magnitude = bits & 0x7fU;
    if (magnitude == 0x7f) {
      return std::bit_cast<float>(sign | 0x7fc00000);
    }
    if (magnitude >= 8) {
      return std::bit_cast<float>(sign | ((magnitude << 20) + 0x3c000000));
    }
    const float denormal = static_cast<float>(magnitude) * 0x1p-9F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(denormal));
  }
};

// Element types of tensors. The quantised ones are GGUF's block formats, stored along a row.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kF8E4M3,
};

struct DTypeInfo {
  std::string_view name;  // as users write it: "f16", "q4_1"
  int block_size;         // values per block; 1 for plain types
  int block_bytes;        // bytes per block
};

[[nodiscard]] const DTypeInfo& dtype_info(DType dtype);

[[nodiscard]] inline bool is_quantized(DType dtype) {
  return dtype_info(dtype).block_size > 1;
}

// Bytes of `count` values; `count` must be a multiple of the block size.
[[nodiscard]] inline int64_t dtype_bytes(DType dtype, int64_t count) {
  const DTypeInfo& info = dtype_info(dtype);
  return count / info.block_size * info.block_bytes;
}

}  // namespace lychee
