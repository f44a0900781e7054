#pragma once

#include <cstdint>

namespace lychee::sampling::cuda {

// Orders a row's tokens: larger for a larger logit, and for the lower id among equals; 0 for NaN.
using TokenKey = unsigned long long;

[[nodiscard]] __device__ inline TokenKey token_key(float logit, int64_t id) {
  if (isnan(logit)) {
    return 0;
  }
  const uint32_t bits = __float_as_uint(logit == 0 ? 0.0F : logit);  // -0 equals 0
  const uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return TokenKey{ordered} << 32 | (0xffffffffU - static_cast<uint32_t>(id));
}

[[nodiscard]] __device__ inline int32_t id_of(TokenKey key) {
  return static_cast<int32_t>(0xffffffffU - static_cast<uint32_t>(key));
}

}  // namespace lychee::sampling::cuda
