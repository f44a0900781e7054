#pragma once

#include <cmath>

#include "kernels/attention/cuda/blended_attention/tile.cuh"
#include "kernels/attention/cuda/blended_attention/view.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

constexpr int kTileQueries = 32;

template <typename Traits>
struct TargetGradientsStorage {
  alignas(128) unsigned char kv[2][Traits::kParts][Traits::kTargetPartBytes];
  alignas(128) unsigned char queries[2][2][Traits::kParts][kTileQueries * Traits::kRowBytes];
  RowWeights weights[2][kTileQueries];
  uint64_t members[2][kTileQueries];  // bit t: token t of the block's
};

// Which of the block's tokens, from `first_token` on, are members of the query's set.
__device__ inline uint64_t target_members(const BlendedView& view, int kv_head, int query,
                                          int first_token) {
  if (view.bits == nullptr || query >= view.num_queries) {
    return 0;
  }
  const int row = query / view.group_size;
  const int set_head =
      view.bits_per_q_head ? kv_head * view.group_size + query % view.group_size : kv_head;
  const uint32_t* words =
      view.bits + (static_cast<uint32_t>(set_head) * view.num_rows + row) * view.bit_words;
  const int word = first_token / 32;
  const auto word_at = [&](int i) { return i < view.bit_words ? words[i] : 0U; };
  const uint32_t low = __funnelshift_r(word_at(word), word_at(word + 1), first_token % 32);
  const uint32_t high = __funnelshift_r(word_at(word + 1), word_at(word + 2), first_token % 32);
  return uint64_t{high} << 32 | low;
}

// grid: (tiles of target tokens, KV heads, splits). Gradients of K and V: tokens are the rows of
// each product, queries its columns.
template <typename Traits>
__global__ void __launch_bounds__(Traits::kTargetThreads)
    blended_target_gradients_kernel(const __grid_constant__ BlendedView view) {
  constexpr int kThreads = Traits::kTargetThreads;
  constexpr int kQueryPartBytes = kTileQueries * Traits::kRowBytes;
  extern __shared__ __align__(128) unsigned char shared[];
  auto& storage = *reinterpret_cast<TargetGradientsStorage<Traits>*>(shared);
  allow_dependents();
  wait_for_predecessors();
  const int kv_head = static_cast<int>(blockIdx.y);
  const int first_target = static_cast<int>(blockIdx.x) * Traits::kTargetTokens;
  const int first_token = view.context_len + first_target;
  const int64_t token_plane = int64_t{view.num_kv_heads} * view.padded_tokens * Traits::kDim;
  const int64_t query_plane = int64_t{view.num_kv_heads} * view.padded_queries * Traits::kDim;

  // Of the queries that see one of the tokens, this split's.
  const int first_tile = first_target * view.group_size / kTileQueries;
  const int num_tiles = (view.num_queries + kTileQueries - 1) / kTileQueries - first_tile;
  const int tiles = (num_tiles + view.num_target_splits - 1) / view.num_target_splits;
  int first_query = (first_tile + static_cast<int>(blockIdx.z) * tiles) * kTileQueries;
  const int end_query = min(first_query + tiles * kTileQueries, view.num_queries);

  const uint32_t k_rows = shared_address(storage.kv[0]);
  const uint32_t v_rows = shared_address(storage.kv[1]);
  const int64_t head_tokens = int64_t{kv_head} * view.padded_tokens * Traits::kDim;
  const int64_t head_queries = int64_t{kv_head} * view.padded_queries * Traits::kDim;
  copy_parts<Traits, Traits::kTargetTokens, kThreads>(view.k + head_tokens, first_token,
                                                      token_plane, k_rows);
  copy_parts<Traits, Traits::kTargetTokens, kThreads>(view.v + head_tokens, first_token,
                                                      token_plane, v_rows);
  const auto load = [&](int first_query, int stage) {
    if (first_query < end_query) {
      copy_parts<Traits, kTileQueries, kThreads>(view.q + head_queries, first_query, query_plane,
                                                 shared_address(storage.queries[stage][0]));
      copy_parts<Traits, kTileQueries, kThreads>(view.d_out + head_queries, first_query,
                                                 query_plane,
                                                 shared_address(storage.queries[stage][1]));
      if (threadIdx.x < kTileQueries) {
        const int query = first_query + static_cast<int>(threadIdx.x);
        storage.weights[stage][threadIdx.x] =
            view.weights[int64_t{kv_head} * view.padded_queries + query];
        storage.members[stage][threadIdx.x] = target_members(view, kv_head, query, first_token);
      }
    }
    commit_copies();
  };

  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp_row = static_cast<int>(threadIdx.x / 32) * 16;
  float d_k[1][Traits::kDim / 8][4] = {};
  float d_v[1][Traits::kDim / 8][4] = {};
  load(first_query, 0);
  for (int stage = 0; first_query < end_query; first_query += kTileQueries, stage ^= 1) {
    load(first_query + kTileQueries, stage ^ 1);
    wait_for_copies<1>();
    __syncthreads();
    const uint32_t q_rows = shared_address(storage.queries[stage][0]);
    const uint32_t d_out_rows = shared_address(storage.queries[stage][1]);
    float weights[1][kTileQueries / 8][4] = {};
    float d_scores[1][kTileQueries / 8][4] = {};
    multiply_rows<Traits>(k_rows + warp_row * Traits::kRowBytes, Traits::kTargetPartBytes, q_rows,
                          kQueryPartBytes, weights);
    multiply_rows<Traits>(v_rows + warp_row * Traits::kRowBytes, Traits::kTargetPartBytes,
                          d_out_rows, kQueryPartBytes, d_scores);
#pragma unroll
    for (int i = 0; i < 2 * (kTileQueries / 8); ++i) {
      const int column = i / 2 * 8 + 2 * (lane % 4) + i % 2;
      const RowWeights row = storage.weights[stage][column];
      const uint64_t members = storage.members[stage][column];
      const int row_of_query = (first_query + column) / view.group_size;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int token = warp_row + half * 8 + lane / 4;
        const bool is_member = (members >> token & 1) != 0;
        float& weight = weights[0][i / 2][2 * half + i % 2];
        float& d_score = d_scores[0][i / 2][2 * half + i % 2];
        const float exponent =
            fmaf(weight, view.log2_scale, -(is_member ? row.log2_sum_member : row.log2_sum_other));
        weight = first_target + token <= row_of_query ? exp2_approx(exponent) : 0.0F;
        d_score = weight * (d_score - (is_member ? row.mean_member : row.mean_other));
      }
    }
    add_weighted_rows<Traits>(weights, d_out_rows, kQueryPartBytes, d_v);
    add_weighted_rows<Traits>(d_scores, q_rows, kQueryPartBytes, d_k);
    __syncthreads();
  }
  wait_for_copies<0>();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_target + warp_row + half * 8 + lane / 4;
    if (row >= view.num_rows) {
      continue;
    }
    const int64_t to =
        ((int64_t{blockIdx.z} * view.num_rows + row) * view.num_kv_heads + kv_head) * view.head_dim;
#pragma unroll
    for (int i = 0; i < 2 * (Traits::kDim / 8); ++i) {
      const int dim = i / 2 * 8 + 2 * (lane % 4) + i % 2;
      if (dim < view.head_dim) {
        view.d_k[to + dim] = d_k[0][i / 2][2 * half + i % 2] * view.scale;
        view.d_v[to + dim] = d_v[0][i / 2][2 * half + i % 2];
      }
    }
  }
}

}  // namespace lychee::attention::cuda
