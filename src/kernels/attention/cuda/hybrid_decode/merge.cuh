#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/hybrid_decode/workspace.h"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

constexpr float kLn2 = 0.693147180559945309F;

// A partial softmax in base 2: Σ 2^(x - max) over its tokens is `sum`. Empty: max is -inf, sum 0.
struct SoftmaxState {
  float max = -INFINITY;
  float sum = 0;

  // What the values under `max` must be multiplied by to stand under `new_max`.
  [[nodiscard]] static __device__ float rescale(float max, float new_max) {
    return max == -INFINITY ? 0.0F : exp2_approx(max - new_max);
  }
  [[nodiscard]] __device__ float lse() const {
    return sum == 0 ? -INFINITY : (max + log2f(sum)) * kLn2;
  }
  [[nodiscard]] __device__ float normalizer() const { return sum == 0 ? 0.0F : 1 / sum; }
};

// The result of one (row, KV head): `group_size` rows of head_dim.
struct HeadResult {
  float* out;
  float* lse;  // null: not wanted
  int group_size;
  int head_dim;
  float v_scale;
};

// Merges `count` consecutive slots in order and writes the result; the whole block takes part.
// `weights` holds count · group_size floats, `states` group_size, `sums` kNumThreads float4.
template <int kNumThreads>
__device__ void merge_partials(const Partials& partials, int first_slot, int count,
                               const HeadResult& result, float* weights, SoftmaxState* states,
                               float4* sums) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int group_size = result.group_size;
  for (int g = thread / 32; g < group_size; g += kNumThreads / 32) {
    SoftmaxState total;
    for (int i = lane; i < count; i += 32) {
      total.max = fmaxf(total.max, __ldcg(&partials.state[(first_slot + i) * group_size + g]).x);
    }
    total.max = max_over_lanes<1, 32>(total.max);
    for (int i = lane; i < count; i += 32) {
      const float2 state = __ldcg(&partials.state[(first_slot + i) * group_size + g]);
      const float weight = SoftmaxState::rescale(state.x, total.max);
      weights[i * group_size + g] = weight;
      total.sum += weight * state.y;
    }
    total.sum = sum_over_lanes<1, 32>(total.sum);
    if (lane == 0) {
      states[g] = total;
    }
  }
  __syncthreads();
  // Threads share out the outputs four by four and, where there are more threads than that, the
  // slots.
  const int num_vectors = group_size * result.head_dim / 4;
  const int num_shares = max(1, kNumThreads / num_vectors);
  for (int first = 0; first < num_vectors; first += kNumThreads) {
    const int vector = num_shares > 1 ? thread % num_vectors : first + thread;
    const int share = num_shares > 1 ? thread / num_vectors : 0;
    float4 sum = {0, 0, 0, 0};
    if (vector < num_vectors && share < num_shares) {
      const int g = vector * 4 / result.head_dim;
      const auto* acc = reinterpret_cast<const float4*>(partials.acc) +
                        int64_t{first_slot} * num_vectors + vector;
#pragma unroll 8
      for (int i = share; i < count; i += num_shares) {
        const float4 value = __ldcg(acc + int64_t{i} * num_vectors);
        const float weight = weights[i * group_size + g];
        sum.x += weight * value.x;
        sum.y += weight * value.y;
        sum.z += weight * value.z;
        sum.w += weight * value.w;
      }
    }
    sums[thread] = sum;
    __syncthreads();
    if (vector < num_vectors && share == 0) {
      for (int i = 1; i < num_shares; ++i) {
        const float4 other = sums[vector + i * num_vectors];
        sum.x += other.x;
        sum.y += other.y;
        sum.z += other.z;
        sum.w += other.w;
      }
      const int g = vector * 4 / result.head_dim;
      const float scale = states[g].normalizer() * result.v_scale;
      reinterpret_cast<float4*>(result.out)[vector] = {sum.x * scale, sum.y * scale, sum.z * scale,
                                                       sum.w * scale};
    }
    __syncthreads();
  }
  if (result.lse != nullptr && thread < group_size) {
    result.lse[thread] = states[thread].lse();
  }
  __syncthreads();
}

// Counts this block in and tells all of its threads whether it was the last of `count`, which may
// then read what the others wrote before. Leaves the counter at zero.
__device__ inline bool arrive_last(int32_t* arrivals, int count, int* is_last) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    *is_last = atomicAdd(arrivals, 1) == count - 1 ? 1 : 0;
    if (*is_last != 0) {
      *arrivals = 0;
      __threadfence();
    }
  }
  __syncthreads();
  return *is_last != 0;
}

}  // namespace lychee::attention::cuda
