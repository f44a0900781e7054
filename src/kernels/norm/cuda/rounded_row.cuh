#pragma once

#include "kernels/cuda/eight.cuh"
#include "kernels/cuda/warp.cuh"

// RMSNorm with a rounded result, piece by piece, for its kernel and for those that normalise their
// activations themselves: the same bits from both.
namespace lychee::norm::cuda {

// A row is summed by so many threads: thread t takes the eights t, t + kRoundedThreads, ….
constexpr int kRoundedThreads = 512;

[[nodiscard]] __device__ inline float add_squares(float squares, const float (&values)[8]) {
#pragma unroll
  for (const float value : values) {
    squares = fmaf(value, value, squares);
  }
  return squares;
}

// Of the warps' sums of squares. The exact division and root would be 60 instructions more, and
// where a linear layer runs them once, its first products wait for them.
[[nodiscard]] __device__ inline float norm_factor(const float* squares, int dim, float eps) {
  const float total = block_total<kRoundedThreads>(squares);
  return rsqrtf(__fdividef(total, static_cast<float>(dim)) + eps);
}

[[nodiscard]] __device__ inline uint4 normalize_eight(float (&values)[8], float factor,
                                                      const float (&weights)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    values[i] = values[i] * factor * weights[i];
  }
  return pack_eight<__nv_bfloat16>(values);
}

}  // namespace lychee::norm::cuda
