#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace lychee {

// Two floats as 16-bit elements in one register, `low` in the lower half.
template <typename T>
[[nodiscard]] __device__ inline uint32_t pack_pair(float low, float high);

template <>
[[nodiscard]] __device__ inline uint32_t pack_pair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const uint32_t&>(pair);
}
template <>
[[nodiscard]] __device__ inline uint32_t pack_pair<__half>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return reinterpret_cast<const uint32_t&>(pair);
}

template <typename T>
[[nodiscard]] __device__ inline float2 unpack_pair(uint32_t pair);

template <>
[[nodiscard]] __device__ inline float2 unpack_pair<__nv_bfloat16>(uint32_t pair) {
  return __bfloat1622float2(reinterpret_cast<const __nv_bfloat162&>(pair));
}
template <>
[[nodiscard]] __device__ inline float2 unpack_pair<__half>(uint32_t pair) {
  return __half22float2(reinterpret_cast<const __half2&>(pair));
}

// Two floats as the sum of kParts pairs of 16-bit elements, largest first: three of bf16 (8 bits
// each) or two of f16 (11 bits each) hold a float's 24 bits.
template <typename T, int kParts>
__device__ inline void split_pair(uint32_t (&parts)[kParts], float low, float high) {
#pragma unroll
  for (int i = 0; i < kParts; ++i) {
    parts[i] = pack_pair<T>(low, high);
    const float2 rounded = unpack_pair<T>(parts[i]);
    low -= rounded.x;
    high -= rounded.y;
  }
}

// Two e4m3 values, in the lower half of `pair`, as f16; exact.
[[nodiscard]] __device__ inline uint32_t e4m3_pair_to_f16(uint32_t pair) {
  const __half2_raw raw =
      __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(pair), __NV_E4M3);
  return uint32_t{raw.x} | uint32_t{raw.y} << 16;
}

}  // namespace lychee
