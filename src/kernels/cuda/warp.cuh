#pragma once

#include <cuda_runtime.h>

namespace lychee {

constexpr int kWarpSize = 32;

// The sum over the warp, in all of its lanes, always added in the same order.
template <typename T>
[[nodiscard]] __device__ T warp_sum(T value) {
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    value += __shfl_xor_sync(0xffffffff, value, mask);
  }
  return value;
}

__device__ inline float warp_max(float value) {
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, mask));
  }
  return value;
}

// The sum of what each warp of kThreads threads left in `scratch`, always added in the same order.
template <int kThreads>
[[nodiscard]] __device__ inline float block_total(const float* scratch) {
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kThreads / kWarpSize; ++warp) {
    total += scratch[warp];
  }
  return total;
}

// The sum over a block of kThreads threads, in all of them. `scratch` holds one float a warp and
// may be used again after the next barrier.
template <int kThreads>
__device__ float block_sum(float value, float* scratch) {
  static_assert(kThreads % kWarpSize == 0 && kThreads <= kWarpSize * kWarpSize);
  value = warp_sum(value);
  if (threadIdx.x % kWarpSize == 0) {
    scratch[threadIdx.x / kWarpSize] = value;
  }
  __syncthreads();
  return block_total<kThreads>(scratch);
}

}  // namespace lychee
