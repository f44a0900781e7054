#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/hybrid_decode/workspace.h"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/convert.cuh"
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
  float* out;         // null: not wanted
  bf16* rounded_out;  // null: not wanted
  float* lse;         // null: not wanted
  int group_size;
  int head_dim;
  float v_scale;

  // Elements 4 · vector and the next three.
  __device__ void write(int vector, const float4& value) const {
    if (out != nullptr) {
      reinterpret_cast<float4*>(out)[vector] = value;
    }
    if (rounded_out != nullptr) {
      reinterpret_cast<uint2*>(rounded_out)[vector] = {pack_pair<__nv_bfloat16>(value.x, value.y),
                                                       pack_pair<__nv_bfloat16>(value.z, value.w)};
    }
  }
};

// That of `num_heads` heads beginning with query head `q_row` of the batch.
[[nodiscard]] __device__ inline HeadResult head_result(const HybridDecodeParams& params,
                                                       int64_t q_row, int num_heads,
                                                       float v_scale) {
  const int64_t at = q_row * params.head_dim;
  return {params.out == nullptr ? nullptr : params.out + at,
          params.rounded_out == nullptr ? nullptr : params.rounded_out + at,
          params.lse == nullptr ? nullptr : params.lse + q_row,
          num_heads,
          params.head_dim,
          v_scale};
}

__device__ inline void add_weighted(float4& sum, float weight, const float4& value) {
  sum.x += weight * value.x;
  sum.y += weight * value.y;
  sum.z += weight * value.z;
  sum.w += weight * value.w;
}

// Merges `count` consecutive slots in order and writes the result; the block's first kNumThreads
// threads take part.
// `weights` holds count · group_size floats, `states` group_size, `sums` kNumThreads float4.
template <int kNumThreads>
__device__ void merge_partials(const Partials& partials, int first_slot, int count,
                               const HeadResult& result, float* weights, SoftmaxState* states,
                               float4* sums) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int group_size = result.group_size;
  // Threads share out the outputs four by four and, where there are more threads than that, the
  // slots.
  const int num_vectors = group_size * result.head_dim / 4;
  const int num_shares = max(1, kNumThreads / num_vectors);
  const auto* acc =
      reinterpret_cast<const float4*>(partials.acc) + int64_t{first_slot} * num_vectors;
  const int first_vector = num_shares > 1 ? thread % num_vectors : thread;
  const int share = num_shares > 1 ? thread / num_vectors : 0;
  // Each round waits for memory: one is enough for a head that reads a set, of 17 or 18 parts in
  // two shares. With many more at once registers spill.
  constexpr int kTogether = 9;
  float4 values[kTogether];
  const auto ask = [&](int first_of_share, int vector) {
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int slot = first_of_share + i * num_shares;
      if (slot < count) {
        values[i] = __ldcg(acc + int64_t{slot} * num_vectors + vector);
      }
    }
  };
  if (first_vector < num_vectors && share < num_shares) {
    ask(share, first_vector);  // before their weights are known
  }
  for (int g = thread / 32; g < group_size; g += kNumThreads / 32) {
    constexpr int kStatesPerLane = (DecodeWorkspace::kMaxParts + 31) / 32;
    float2 own[kStatesPerLane];
    SoftmaxState total;
#pragma unroll
    for (int i = 0; i < kStatesPerLane; ++i) {
      const int slot = lane + i * 32;
      own[i] = slot < count ? __ldcg(&partials.state[(first_slot + slot) * group_size + g])
                            : float2{-INFINITY, 0};
    }
#pragma unroll
    for (const float2& state : own) {
      total.max = fmaxf(total.max, state.x);
    }
    total.max = max_over_lanes<1, 32>(total.max);
#pragma unroll
    for (int i = 0; i < kStatesPerLane; ++i) {
      const float weight = SoftmaxState::rescale(own[i].x, total.max);
      total.sum += weight * own[i].y;
      if (lane + i * 32 < count) {
        weights[(lane + i * 32) * group_size + g] = weight;
      }
    }
    total.sum = sum_over_lanes<1, 32>(total.sum);
    if (lane == 0) {
      states[g] = total;
    }
  }
  sync_threads<1, kNumThreads>();
  for (int first = 0; first < num_vectors; first += kNumThreads) {
    const int vector = first + first_vector;
    const bool exists = vector < num_vectors && share < num_shares;
    const int g = vector * 4 / result.head_dim;
    float4 sum = {0, 0, 0, 0};
    if (exists) {
      for (int begin = share; begin < count; begin += kTogether * num_shares) {
        if (begin != share || first != 0) {
          ask(begin, vector);
        }
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const int slot = begin + i * num_shares;
          if (slot < count) {
            add_weighted(sum, weights[slot * group_size + g], values[i]);
          }
        }
      }
    }
    sums[thread] = sum;
    sync_threads<1, kNumThreads>();
    if (exists && share == 0) {
      for (int i = 1; i < num_shares; ++i) {
        add_weighted(sum, 1, sums[vector + i * num_vectors]);
      }
      const float scale = states[g].normalizer() * result.v_scale;
      result.write(vector, {sum.x * scale, sum.y * scale, sum.z * scale, sum.w * scale});
    }
    sync_threads<1, kNumThreads>();
  }
  if (result.lse != nullptr && thread < group_size) {
    result.lse[thread] = states[thread].lse();
  }
  sync_threads<1, kNumThreads>();
}

}  // namespace lychee::attention::cuda
