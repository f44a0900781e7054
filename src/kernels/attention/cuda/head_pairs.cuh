#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/cuda/warp.cuh"

namespace lychee::attention::cuda {

// A warp's head of at most kMaxHeadDim values in registers: lane l has the pairs l, l + 32, … of
// values half a head apart, which rotation turns. What a compiler may fuse is spelled out, so that
// all who use it get the same bits.
template <int kMaxHeadDim>
struct HeadPairs {
  static constexpr int kPairs = (kMaxHeadDim / 2 + kWarpSize - 1) / kWarpSize;

  __device__ HeadPairs(const float* x, int half_dim)
      : half(half_dim), lane(static_cast<int>(threadIdx.x) % kWarpSize) {
    for_each([&](int i, int pair) {
      first[i] = x[pair];
      second[i] = x[half + pair];
    });
  }
  // fn(i, pair) of this lane's pairs.
  template <typename Fn>
  __device__ void for_each(Fn&& fn) const {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int pair = i * kWarpSize + lane;
      if (pair < half) {
        fn(i, pair);
      }
    }
  }
  // weight: [head_dim].
  __device__ void normalize(const HeadPairs& weight, float eps) {
    float squares = 0;
    for_each([&](int i, int) {
      squares = fmaf(first[i], first[i], squares);
      squares = fmaf(second[i], second[i], squares);
    });
    const float factor = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(2 * half) + eps);
    for_each([&](int i, int) {
      first[i] *= __fmul_rn(factor, weight.first[i]);
      second[i] *= __fmul_rn(factor, weight.second[i]);
    });
  }
  // table: of rope::make_rope_table, cosines and sines.
  __device__ void rotate(const HeadPairs& table) {
    for_each([&](int i, int) {
      const float x = first[i];
      first[i] = fmaf(x, table.first[i], -__fmul_rn(second[i], table.second[i]));
      second[i] = fmaf(second[i], table.first[i], __fmul_rn(x, table.second[i]));
    });
  }
  template <typename T>
  __device__ void store(T* to, float scale) const {
    for_each([&](int i, int pair) {
      to[pair] = round_to<T>(first[i] / scale);
      to[half + pair] = round_to<T>(second[i] / scale);
    });
  }

  int half;
  int lane;
  float first[kPairs];
  float second[kPairs];
};

}  // namespace lychee::attention::cuda
