#pragma once

#include <cstdint>

namespace lychee {

// An integer that orders like the float: -0 equals +0, NaN equals -inf.
// Integers, because they keep denormals apart.
[[nodiscard]] __device__ inline uint32_t float_key(float value) {
  constexpr uint32_t kSign = 0x80000000;
  constexpr uint32_t kInf = 0x7f800000;
  const uint32_t bits = __float_as_uint(value);
  const uint32_t magnitude = bits & ~kSign;
  const uint32_t key = (bits & kSign) != 0 ? kSign - magnitude : kSign + magnitude;
  return magnitude > kInf ? kSign - kInf : key;
}

// Undoes float_key.
[[nodiscard]] __device__ inline float float_of_key(uint32_t key) {
  constexpr uint32_t kSign = 0x80000000;
  return __uint_as_float(key >= kSign ? key - kSign : kSign | (kSign - key));
}

}  // namespace lychee
