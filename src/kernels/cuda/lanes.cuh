#pragma once

#include <cstdint>

namespace lychee {

constexpr uint32_t kAllLanes = 0xffffffff;

// Over the lanes that differ in the bits of [kFirst, kEnd), powers of two; all of them get it.
template <int kFirst, int kEnd>
[[nodiscard]] __device__ inline float max_over_lanes(float value) {
#pragma unroll
  for (int mask = kFirst; mask < kEnd; mask *= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, mask));
  }
  return value;
}

template <int kFirst, int kEnd>
[[nodiscard]] __device__ inline float sum_over_lanes(float value) {
#pragma unroll
  for (int mask = kFirst; mask < kEnd; mask *= 2) {
    value += __shfl_xor_sync(kAllLanes, value, mask);
  }
  return value;
}

// Sum over this lane and those below it.
template <typename T>
[[nodiscard]] __device__ T sum_to_lane(T value) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const T below = __shfl_up_sync(kAllLanes, value, distance);
    value += lane >= distance ? below : 0;
  }
  return value;
}

// 2^x, within 2 units in the last place; denormal results become 0.
[[nodiscard]] __device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace lychee
