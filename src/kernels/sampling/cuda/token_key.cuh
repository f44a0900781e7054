#pragma once

#include <cstdint>

namespace lychee::sampling::cuda {

// A logit that is no NaN as bits of the same order; -0 may be below 0.
[[nodiscard]] __device__ inline uint32_t ordered_bits(float logit) {
  const uint32_t bits = __float_as_uint(logit);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
[[nodiscard]] __device__ inline float from_ordered_bits(uint32_t ordered) {
  return __uint_as_float((ordered & 0x80000000U) != 0 ? ordered & 0x7fffffffU : ~ordered);
}

// Orders a row's tokens: larger for a larger logit, and for the lower id among equals; 0 for NaN.
using TokenKey = unsigned long long;

[[nodiscard]] __device__ inline TokenKey token_key(float logit, int64_t id) {
  if (isnan(logit)) {
    return 0;
  }
  const uint32_t ordered = ordered_bits(logit == 0 ? 0.0F : logit);  // -0 equals 0
  return TokenKey{ordered} << 32 | (0xffffffffU - static_cast<uint32_t>(id));
}
// At most that of any token with this logit.
[[nodiscard]] __device__ inline TokenKey least_key(float logit) {
  return TokenKey{ordered_bits(logit)} << 32;
}

[[nodiscard]] __device__ inline int32_t id_of(TokenKey key) {
  return static_cast<int32_t>(0xffffffffU - static_cast<uint32_t>(key));
}
[[nodiscard]] __device__ inline float logit_of(TokenKey key) {
  return from_ordered_bits(static_cast<uint32_t>(key >> 32));
}

}  // namespace lychee::sampling::cuda
