#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/attention/cuda/chunk_slot.cuh"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/cuda/prefill_attention/traits.h"
#include "kernels/attention/params.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/matrix.cuh"

namespace lychee::attention::cuda {

// Starts the copies of one page's K and V of a head; tokens at and after `end` become zeros.
template <typename Traits>
__device__ void load_prefill_tile(const PrefillAttentionParams& params, int kv_head, int64_t first,
                                  int64_t end, uint32_t k_tile) {
  constexpr int kChunksPerRow = Traits::kRowBytes / 16;
  constexpr int kElementBytes = Traits::kIsFp8 ? 1 : 2;
  const int64_t base =
      device_kv_offset(params.kv, params.page_table, first, kv_head) * kElementBytes;
  const int64_t row_bytes = params.kv.token_stride * kElementBytes;
  for (int i = static_cast<int>(threadIdx.x); i < Traits::kTileTokens * kChunksPerRow;
       i += Traits::kNumThreads) {
    const int row = i / kChunksPerRow;
    const int chunk = i % kChunksPerRow;
    const int64_t from = base + row * row_bytes + chunk * 16;
    const uint32_t to = k_tile + 16 * static_cast<uint32_t>(chunk_slot<kChunksPerRow>(row, chunk));
    const bool valid = first + row < end;
    copy_async_16(to, static_cast<const char*>(params.kv.k) + from, valid);
    copy_async_16(to + Traits::kPlaneBytes, static_cast<const char*>(params.kv.v) + from, valid);
  }
}

// One warp's 16 queries of one head. Lane l = 4 r + s looks after queries r (half 0) and r + 8
// (half 1).
template <typename Traits>
class WarpPrefill {
 public:
  using Element = std::conditional_t<Traits::kKvDType == DType::kBF16, __nv_bfloat16, __half>;
  static constexpr int kHeadDim = Traits::kHeadDim;
  static constexpr int kSteps = kHeadDim / 16;
  static constexpr int kParts = Traits::kParts;
  static constexpr int kTokenTiles = Traits::kTileTokens / 8;
  static constexpr int kChunksPerRow = Traits::kRowBytes / 16;
  static constexpr float kWeightBits = std::is_same_v<Element, __half> ? 12.0F : 0.0F;

  // q: of the warp's first query, `num_rows` of which exist; `log2_scale` turns q · k into an
  // exponent of 2.
  __device__ WarpPrefill(const float* q, int64_t q_row_stride, int num_rows, float log2_scale) {
    float unit[2] = {1, 1};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane() / 4 + 8 * half;
      load_query(q + row * q_row_stride, row < num_rows, half, unit[half]);
      log2_unit_[half] = unit[half] * log2_scale;
      max_[half] = -INFINITY;
      sum_[half] = 0;
    }
#pragma unroll
    for (auto& tile : acc_) {
      tile[0] = tile[1] = tile[2] = tile[3] = 0;
    }
  }

  // Tokens `first` … of a tile; query r sees those up to `last_of_row0` + r.
  __device__ void add_tile(uint32_t k_tile, uint32_t v_tile, int64_t first, int64_t last_of_row0) {
    float scores[kTokenTiles][4] = {};
    multiply_k(k_tile, scores);
    if (first + Traits::kTileTokens - 1 > last_of_row0) {
      mask(scores, first, last_of_row0);
    }
    weigh(scores);
    multiply_v(v_tile, scores);
  }

  // Row r goes to out + r · row_stride.
  __device__ void store(float* out, int64_t row_stride, int num_rows, float v_scale) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane() / 4 + 8 * half;
      const float scale = v_scale / sum_over_lanes<1, 4>(sum_[half]);
      if (row < num_rows) {
#pragma unroll
        for (int tile = 0; tile < kHeadDim / 8; ++tile) {
          float* to = out + row * row_stride;
          to[dim_of(tile, 2 * (lane() % 4))] = acc_[tile][2 * half] * scale;
          to[dim_of(tile, 2 * (lane() % 4) + 1)] = acc_[tile][2 * half + 1] * scale;
        }
      }
    }
  }

 private:
  [[nodiscard]] static __device__ int lane() {
    return static_cast<int>(threadIdx.x % 32);
  }

  // Dimension of column `column` of output tile `tile`: bytes come out of the transposing load in
  // pairs of dimensions, the even ones then fill one tile and the odd ones the next.
  [[nodiscard]] static __device__ int dim_of(int tile, int column) {
    return Traits::kIsFp8 ? tile / 2 * 16 + 2 * column + tile % 2 : tile * 8 + column;
  }

  __device__ void load_query(const float* q, bool exists, int half, float& unit) {
    const int s = lane() % 4;
    float2 values[kSteps][2];
    float largest = 0;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int dim = step * 16 + (Traits::kIsFp8 ? 4 * s + 2 * i : 2 * s + 8 * i);
        values[step][i] = exists ? *reinterpret_cast<const float2*>(q + dim) : float2{0, 0};
        largest = fmaxf(largest, fmaxf(fabsf(values[step][i].x), fabsf(values[step][i].y)));
      }
    }
    float factor = 1;
    if constexpr (std::is_same_v<Element, __half>) {
      factor = f16_factor(max_over_lanes<1, 4>(largest), unit);
    }
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        uint32_t parts[kParts];
        split_pair<Element, kParts>(parts, values[step][i].x * factor, values[step][i].y * factor);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          query_[part][step][2 * i + half] = parts[part];
        }
      }
    }
  }

  __device__ void multiply_k(uint32_t k_tile, float (&scores)[kTokenTiles][4]) {
    const int row = (lane() & 7) + (lane() >> 4) * 8;
    const int chunk = (lane() >> 3) & 1;
#pragma unroll
    for (int step = 0; step < kSteps; step += Traits::kIsFp8 ? 2 : 1) {
#pragma unroll
      for (int tile = 0; tile < kTokenTiles; tile += 2) {
        uint32_t b[4];
        const int first_chunk = Traits::kIsFp8 ? step : 2 * step;
        load_matrices(b,
                      k_tile + 16 * chunk_slot<kChunksPerRow>(tile * 8 + row, first_chunk + chunk));
        if constexpr (Traits::kIsFp8) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            multiply_parts(scores[tile + i / 2], query_, step + i % 2,
                           e4m3_pair_to_f16(b[i] & 0xffff), e4m3_pair_to_f16(b[i] >> 16));
          }
        } else {
          multiply_parts(scores[tile], query_, step, b[0], b[1]);
          multiply_parts(scores[tile + 1], query_, step, b[2], b[3]);
        }
      }
    }
  }

  template <int kCount>
  static __device__ void multiply_parts(float (&c)[4], const uint32_t (&a)[kParts][kCount][4],
                                        int step, uint32_t b0, uint32_t b1) {
#pragma unroll
    for (int part = kParts - 1; part >= 0; --part) {  // small ones first
      multiply_add<Element>(c, a[part][step], b0, b1);
    }
  }

  __device__ void mask(float (&scores)[kTokenTiles][4], int64_t first, int64_t last_of_row0) {
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t position = first + tile * 8 + 2 * (lane() % 4) + i % 2;
        if (position > last_of_row0 + lane() / 4 + 8 * (i / 2)) {
          scores[tile][i] = -INFINITY;
        }
      }
    }
  }

  // Scores to softmax weights under the running maximum, in place.
  __device__ void weigh(float (&scores)[kTokenTiles][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float best = -INFINITY;
#pragma unroll
      for (int tile = 0; tile < kTokenTiles; ++tile) {
        best = fmaxf(best, fmaxf(scores[tile][2 * half], scores[tile][2 * half + 1]));
      }
      best = max_over_lanes<1, 4>(best) * log2_unit_[half] - kWeightBits;
      const float new_max = fmaxf(max_[half], best);
      const float base = new_max == -INFINITY ? 0.0F : new_max;
      const float factor = max_[half] == -INFINITY ? 0.0F : exp2_approx(max_[half] - base);
      max_[half] = new_max;
      sum_[half] *= factor;
#pragma unroll
      for (auto& tile : acc_) {
        tile[2 * half] *= factor;
        tile[2 * half + 1] *= factor;
      }
#pragma unroll
      for (int tile = 0; tile < kTokenTiles; ++tile) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[tile][i] = exp2_approx(fmaf(scores[tile][i], log2_unit_[half], -base));
          sum_[half] += scores[tile][i];
        }
      }
    }
  }

  __device__ void multiply_v(uint32_t v_tile, const float (&weights)[kTokenTiles][4]) {
#pragma unroll
    for (int step = 0; step < kTokenTiles / 2; ++step) {
      uint32_t a[kParts][1][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        uint32_t parts[kParts];
        const float(&tile)[4] = weights[2 * step + i / 2];
        split_pair<Element, kParts>(parts, tile[2 * (i % 2)], tile[2 * (i % 2) + 1]);
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          a[part][0][i] = parts[part];
        }
      }
      multiply_v_step(v_tile, step * 16 + (lane() & 15), a);
    }
  }

  __device__ void multiply_v_step(uint32_t v_tile, int row, const uint32_t (&a)[kParts][1][4]) {
    constexpr int kTilesPerLoad = Traits::kIsFp8 ? 4 : 2;
#pragma unroll
    for (int tile = 0; tile < kHeadDim / 8; tile += kTilesPerLoad) {
      const int first_chunk = Traits::kIsFp8 ? tile / 2 : tile;
      uint32_t b[4];
      load_matrices_transposed(
          b, v_tile + 16 * chunk_slot<kChunksPerRow>(row, first_chunk + (lane() >> 4)));
      if constexpr (Traits::kIsFp8) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          // Bytes of (token, dimension): (t, d), (t, d + 1), (t + 1, d), (t + 1, d + 1).
          const uint32_t top = __byte_perm(b[2 * i], 0, 0x3120);
          const uint32_t bottom = __byte_perm(b[2 * i + 1], 0, 0x3120);
          multiply_parts(acc_[tile + 2 * i], a, 0, e4m3_pair_to_f16(top & 0xffff),
                         e4m3_pair_to_f16(bottom & 0xffff));
          multiply_parts(acc_[tile + 2 * i + 1], a, 0, e4m3_pair_to_f16(top >> 16),
                         e4m3_pair_to_f16(bottom >> 16));
        }
      } else {
        multiply_parts(acc_[tile], a, 0, b[0], b[1]);
        multiply_parts(acc_[tile + 1], a, 0, b[2], b[3]);
      }
    }
  }

  uint32_t query_[kParts][kSteps][4];
  float acc_[kHeadDim / 8][4];
  float max_[2];  // base 2
  float sum_[2];  // over this lane's tokens
  float log2_unit_[2];
};

// grid: (query tiles, query heads). The last tile has most to read, so it comes first.
template <typename Traits>
__global__ void __launch_bounds__(Traits::kNumThreads, 1)
    prefill_attention_kernel(const __grid_constant__ PrefillAttentionParams params) {
  constexpr float kLog2E = 1.44269504088896340736F;
  extern __shared__ unsigned char raw_smem[];
  const uint32_t tiles =
      shared_address(reinterpret_cast<typename Traits::SharedStorage*>(raw_smem)->tiles);
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / (params.num_q_heads / params.num_kv_heads);
  const int first_row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Traits::kQueryRows;
  const int warp_row = first_row + static_cast<int>(threadIdx.x / 32) * 16;
  const int num_rows = min(16, params.num_tokens - warp_row);
  const float k_scale = params.kv.k_scales == nullptr ? 1.0F : params.kv.k_scales[kv_head];
  const float v_scale = params.kv.v_scales == nullptr ? 1.0F : params.kv.v_scales[kv_head];
  WarpPrefill<Traits> attention(
      params.q + warp_row * params.q_row_stride + int64_t{head} * params.head_dim,
      params.q_row_stride, num_rows, params.scale * kLog2E * k_scale);

  const int64_t end =
      params.first_position + min(first_row + Traits::kQueryRows, params.num_tokens);
  const int64_t warp_position = params.first_position + warp_row;
  load_prefill_tile<Traits>(params, kv_head, 0, end, tiles);
  commit_copies();
  uint32_t k_tile = tiles;
  for (int64_t first = 0; first < end; first += Traits::kTileTokens) {
    const uint32_t next_tile = tiles + (k_tile == tiles ? 2 * Traits::kPlaneBytes : 0);
    if (first + Traits::kTileTokens < end) {
      load_prefill_tile<Traits>(params, kv_head, first + Traits::kTileTokens, end, next_tile);
    }
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    if (num_rows > 0 && first < warp_position + 16) {
      attention.add_tile(k_tile, k_tile + Traits::kPlaneBytes, first, warp_position);
    }
    __syncthreads();
    k_tile = next_tile;
  }
  attention.store(params.out + (int64_t{warp_row} * params.num_q_heads + head) * params.head_dim,
                  int64_t{params.num_q_heads} * params.head_dim, num_rows, v_scale);
}

}  // namespace lychee::attention::cuda
