#pragma once

#include <cstdint>

#include "kernels/cuda/float_key.cuh"

namespace lychee::sampling::cuda {

// Orders a row's tokens: larger for a larger logit, and for the lower id among equals; 0 for NaN.
using TokenKey = unsigned long long;

[[nodiscard]] __device__ inline TokenKey token_key(float logit, int64_t id) {
  if (isnan(logit)) {
    return 0;
  }
  return TokenKey{float_key(logit)} << 32 | (0xffffffffU - static_cast<uint32_t>(id));
}
// At most that of any token with this logit.
[[nodiscard]] __device__ inline TokenKey least_key(float logit) {
  return TokenKey{float_key(logit)} << 32;
}

[[nodiscard]] __device__ inline int32_t id_of(TokenKey key) {
  return static_cast<int32_t>(0xffffffffU - static_cast<uint32_t>(key));
}
[[nodiscard]] __device__ inline float logit_of(TokenKey key) {
  return float_of_key(static_cast<uint32_t>(key >> 32));
}

}  // namespace lychee::sampling::cuda
