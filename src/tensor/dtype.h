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

// Storage-only IEEE half. The bits of `_Float16`, which g++ 12 and clang 16 both have on x86 and
// Arm.
struct f16 {
  uint16_t bits = 0;

  f16() = default;
  explicit f16(float value) : bits(std::bit_cast<uint16_t>(static_cast<_Float16>(value))) {}
  explicit operator float() const { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
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
