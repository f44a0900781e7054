#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/attention/cuda/chunk_slot.cuh"
#include "kernels/attention/cuda/hybrid_decode/merge.cuh"
#include "kernels/attention/cuda/hybrid_decode/traits.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/matrix.cuh"

namespace lychee::attention::cuda {

// One warp's attention of one group of query heads over tiles of 16 tokens. Lane l = 4 r + s.
// Scores have tokens as rows and heads as columns; outputs, transposed, dimensions as rows: both
// leave heads 2 s and 2 s + 1 of each head tile with the same lanes.
template <typename Traits>
class WarpAttention {
 public:
  using Element =
      std::conditional_t<Traits::kKvDType == DType::kBF16, __nv_bfloat16, __half>;  // of products
  static constexpr int kHeadDim = Traits::kHeadDim;
  static constexpr int kHeadTiles = Traits::kHeadTiles;
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr int kParts = Traits::kParts;
  // Softmax weights are 2^kWeightBits at most: small ones then keep their bits in f16.
  static constexpr float kWeightBits = std::is_same_v<Element, __half> ? 12.0F : 0.0F;

  // q: [group_size, kHeadDim]; `scale` of the softmax, `k_scale` of what the cache holds.
  __device__ void begin(const float* q, int group_size, float scale, float k_scale) {
    constexpr float kLog2E = 1.44269504088896340736F;
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
      float own_unit = 1;  // of this lane's row of q
      load_query(tile, q, group_size, own_unit);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        // Column 2 s + i of the scores is row 2 s + i of q, which lanes 4 (2 s + i) … hold.
        const float unit = __shfl_sync(kAllLanes, own_unit, (2 * (lane() % 4) + i) * 4);
        score_unit_[tile][i] = unit * k_scale;
        log2_unit_[tile][i] = unit * k_scale * scale * kLog2E;
        max_[tile][i] = -INFINITY;
        sum_[tile][i] = 0;
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          acc_[tile][step][i] = 0;
        }
      }
    }
    inverse_group_size_ = 1.0F / static_cast<float>(group_size);
  }

  // The first `count` rows of a tile; its mean scores go to mean_scores[0 … count) unless null.
  // Calls `release` once the tile has been read.
  template <typename Fn>
  __device__ void add_tile(uint32_t k_tile, uint32_t v_tile, int count, float* mean_scores,
                           Fn&& release) {
    float scores[kHeadTiles][4];
    Fragments fragments;
    load_k(k_tile, fragments);
    multiply_k(fragments, scores);
    load_v(v_tile, fragments);
    release();
    if (mean_scores != nullptr) {
      emit_mean(scores, count, mean_scores);
    }
    uint32_t weights[kHeadTiles][kParts][2];
    weigh(scores, count, weights);
    multiply_v(fragments, weights);
  }

  // This warp's result of one head tile, to the memory of the merge.
  __device__ void store(int tile, float (*acc)[Traits::kMergeStride], float* max, float* sum) {
    const int r = lane() / 4;
    const int s = lane() % 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int head = 2 * s + i;
      const float total = sum_over_lanes<4, 32>(sum_[tile][i]);
      if (r == 0) {
        max[head] = max_[tile][i];
        sum[head] = total;
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        acc[head][dim_of(step, r, 0)] = acc_[tile][step][i];
        acc[head][dim_of(step, r, 1)] = acc_[tile][step][i + 2];
      }
    }
  }

 private:
  [[nodiscard]] static __device__ int lane() {
    return static_cast<int>(threadIdx.x % 32);
  }

  // Dimension of row r (half 0) or r + 8 (half 1) of output step `step`. Bytes come out of the
  // transposing load in pairs of dimensions.
  [[nodiscard]] static __device__ int dim_of(int step, int r, int half) {
    return step * 16 + (Traits::kIsFp8 ? 2 * r + half : r + 8 * half);
  }

  __device__ void load_query(int tile, const float* q, int group_size, float& unit) {
    const int r = lane() / 4;
    const int s = lane() % 4;
    const int head = tile * kHeadsPerTile + r;
    float2 values[kSteps][2];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // Which dimensions stand in the columns of a product is free, if K's loads agree: four
        // bytes of e4m3 serve both halves.
        const int dim = step * 16 + (Traits::kIsFp8 ? 4 * s + 2 * half : 2 * s + 8 * half);
        values[step][half] = head < group_size
                                 ? *reinterpret_cast<const float2*>(q + head * kHeadDim + dim)
                                 : float2{0, 0};
      }
    }
    float factor = 1;
    if constexpr (std::is_same_v<Element, __half>) {
      float largest = 0;
#pragma unroll
      for (const auto& step : values) {
        largest = fmaxf(largest, fmaxf(fmaxf(fabsf(step[0].x), fabsf(step[0].y)),
                                       fmaxf(fabsf(step[1].x), fabsf(step[1].y))));
      }
      factor = f16_factor(max_over_lanes<1, 4>(largest), unit);
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t parts[kParts];
        split_pair<Element, kParts>(parts, values[step][half].x * factor,
                                    values[step][half].y * factor);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          query_[tile][part][step][half] = parts[part];
        }
      }
    }
  }

  // Fragments of K, or V transposed, of all steps: asked for at once, since a warp waits for each
  // in turn otherwise.
  using Fragments = uint32_t[kSteps / (Traits::kIsFp8 ? 2 : 1)][4];

  static __device__ void load_k(uint32_t k_tile, Fragments& fragments) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(std::extent_v<Fragments>); ++i) {
      load_matrices(fragments[i], k_tile + 16 * slot_of(lane() & 15, 2 * i + (lane() >> 4)));
    }
  }
  static __device__ void load_v(uint32_t v_tile, Fragments& fragments) {
    const int l = lane();
#pragma unroll
    for (int i = 0; i < static_cast<int>(std::extent_v<Fragments>); ++i) {
      // Bytes: matrices differ in their tokens first, then in their chunk; else the other way.
      const int row = Traits::kIsFp8 ? (l & 7) + (l & 8) : (l & 7) + (l >> 4) * 8;
      const int chunk = 2 * i + (Traits::kIsFp8 ? l >> 4 : (l >> 3) & 1);
      load_matrices_transposed(fragments[i], v_tile + 16 * slot_of(row, chunk));
    }
  }
  [[nodiscard]] static __device__ uint32_t slot_of(int row, int chunk) {
    return static_cast<uint32_t>(chunk_slot<Traits::kRowBytes / 16>(row, chunk));
  }

  __device__ void multiply_k(const Fragments& fragments, float (&scores)[kHeadTiles][4]) {
    // Parts have sums of their own: short chains of dependent instructions.
    float partial[kHeadTiles][kParts][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[4];
      k_operand(fragments, step, a);
#pragma unroll
      for (int tile = 0; tile < kHeadTiles; ++tile) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          multiply_add<Element>(partial[tile][part], a, query_[tile][part][step][0],
                                query_[tile][part][step][1]);
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[tile][i] = partial[tile][kParts - 1][i];
#pragma unroll
        for (int part = kParts - 2; part >= 0; --part) {
          scores[tile][i] += partial[tile][part][i];
        }
      }
    }
  }

  static __device__ void k_operand(const Fragments& fragments, int step, uint32_t (&a)[4]) {
    if constexpr (Traits::kIsFp8) {
      const uint32_t top = fragments[step / 2][2 * (step % 2)];
      const uint32_t bottom = fragments[step / 2][2 * (step % 2) + 1];
      a[0] = e4m3_pair_to_f16(top & 0xffff);
      a[1] = e4m3_pair_to_f16(bottom & 0xffff);
      a[2] = e4m3_pair_to_f16(top >> 16);
      a[3] = e4m3_pair_to_f16(bottom >> 16);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = fragments[step][i];
      }
    }
  }

  static __device__ void v_operand(const Fragments& fragments, int step, uint32_t (&a)[4]) {
    if constexpr (Traits::kIsFp8) {
      // Bytes of (token, dimension), low to high: (t, d), (t, d + 1), (t + 1, d), (t + 1, d + 1).
      const uint32_t top = __byte_perm(fragments[step / 2][2 * (step % 2)], 0, 0x3120);
      const uint32_t bottom = __byte_perm(fragments[step / 2][2 * (step % 2) + 1], 0, 0x3120);
      a[0] = e4m3_pair_to_f16(top & 0xffff);
      a[1] = e4m3_pair_to_f16(top >> 16);
      a[2] = e4m3_pair_to_f16(bottom & 0xffff);
      a[3] = e4m3_pair_to_f16(bottom >> 16);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = fragments[step][i];
      }
    }
  }

  __device__ void emit_mean(const float (&scores)[kHeadTiles][4], int count, float* mean_scores) {
    float top = 0;
    float bottom = 0;
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
      top += scores[tile][0] * score_unit_[tile][0] + scores[tile][1] * score_unit_[tile][1];
      bottom += scores[tile][2] * score_unit_[tile][0] + scores[tile][3] * score_unit_[tile][1];
    }
    top = sum_over_lanes<1, 4>(top);
    bottom = sum_over_lanes<1, 4>(bottom);
    const int s = lane() % 4;
    const int row = lane() / 4 + 8 * s;
    if (s < 2 && row < count) {
      mean_scores[row] = (s == 0 ? top : bottom) * inverse_group_size_;
    }
  }

  // Scores to softmax weights under the running maximum, laid out for multiply_v.
  __device__ void weigh(const float (&scores)[kHeadTiles][4], int count,
                        uint32_t (&weights)[kHeadTiles][kParts][2]) {
    const int r = lane() / 4;
#pragma unroll
    for (int tile = 0; tile < kHeadTiles; ++tile) {
      const float masked[4] = {
          r < count ? scores[tile][0] : -INFINITY, r < count ? scores[tile][1] : -INFINITY,
          r + 8 < count ? scores[tile][2] : -INFINITY, r + 8 < count ? scores[tile][3] : -INFINITY};
      float new_max[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float best = fmaxf(masked[i], masked[i + 2]) * log2_unit_[tile][i];
        new_max[i] = fmaxf(max_[tile][i], max_over_lanes<4, 32>(best) - kWeightBits);
      }
      if (__any_sync(kAllLanes, new_max[0] > max_[tile][0] || new_max[1] > max_[tile][1])) {
        rescale(tile, new_max);
      }
      float w[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float max = max_[tile][i % 2] == -INFINITY ? 0.0F : max_[tile][i % 2];
        w[i] = exp2_approx(fmaf(masked[i], log2_unit_[tile][i % 2], -max));
      }
      sum_[tile][0] += w[0] + w[2];
      sum_[tile][1] += w[1] + w[3];
      uint32_t top[kParts];
      uint32_t bottom[kParts];
      split_pair<Element, kParts>(top, w[0], w[1]);
      split_pair<Element, kParts>(bottom, w[2], w[3]);
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        weights[tile][part][0] = transpose_matrix(top[part]);
        weights[tile][part][1] = transpose_matrix(bottom[part]);
      }
    }
  }

  __device__ void rescale(int tile, const float (&new_max)[2]) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float factor = SoftmaxState::rescale(max_[tile][i], new_max[i]);
      max_[tile][i] = new_max[i];
      sum_[tile][i] *= factor;
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        acc_[tile][step][i] *= factor;
        acc_[tile][step][i + 2] *= factor;
      }
    }
  }

  __device__ void multiply_v(const Fragments& fragments,
                             const uint32_t (&weights)[kHeadTiles][kParts][2]) {
    constexpr int kTogether = 4;  // independent sums, so that none waits for its own last part
#pragma unroll
    for (int first = 0; first < kSteps; first += kTogether) {
      uint32_t a[kTogether][4];
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        v_operand(fragments, first + i, a[i]);
      }
#pragma unroll
      for (int part = kParts - 1; part >= 0; --part) {  // small ones first
#pragma unroll
        for (int i = 0; i < kTogether * kHeadTiles; ++i) {
          const int tile = i % kHeadTiles;
          multiply_add<Element>(acc_[tile][first + i / kHeadTiles], a[i / kHeadTiles],
                                weights[tile][part][0], weights[tile][part][1]);
        }
      }
    }
  }

  uint32_t query_[kHeadTiles][kParts][kSteps][2];
  float acc_[kHeadTiles][kSteps][4];
  float max_[kHeadTiles][2];         // base 2, of this lane's two columns
  float sum_[kHeadTiles][2];         // over this lane's tokens
  float score_unit_[kHeadTiles][2];  // a product times this is q · k
  float log2_unit_[kHeadTiles][2];   // … and times this its exponent of 2 in the softmax
  float inverse_group_size_;
};

}  // namespace lychee::attention::cuda
