#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/block_rows.cuh"
#include "kernels/attention/cuda/blended_attention/tile.cuh"
#include "kernels/attention/cuda/blended_attention/traits.h"

namespace lychee::attention::cuda {

// A block that multiplies with mma.sync: any GPU, operands in one part or two. kBackward: the
// gradients of the outputs lie beside the queries. kReadsV: tiles hold V beside K.
template <typename Traits, bool kBackward, bool kReadsV>
class QueryBlock
    : public BlockRows<Traits::kDim, Traits::kQueries, Traits::kRowTiles, Traits::kTokenTiles> {
  using Base = BlockRows<Traits::kDim, Traits::kQueries, Traits::kRowTiles, Traits::kTokenTiles>;
  using Base::end_tile_;
  using Base::first_query_;
  using Base::first_tile_;
  using Base::kv_head_;
  using Base::view_;
  static constexpr int kQueryBytes = Traits::kParts * Traits::kQueryPartBytes;
  static constexpr int kPlaneBytes = Traits::kParts * Traits::kTilePartBytes;
  static constexpr int kTileBytes = (kReadsV ? 2 : 1) * kPlaneBytes;

 public:
  using typename Base::Outputs;
  using typename Base::Scores;
  static constexpr int kMinBlocks = Traits::kMinBlocks;
  static constexpr int kSharedBytes =
      (kBackward ? 2 : 1) * kQueryBytes + Traits::kNumStages * kTileBytes;

  __device__ QueryBlock(const BlendedView& view, unsigned char* shared)
      : Base(view),
        queries_(shared_address(shared)),
        tiles_(queries_ + (kBackward ? 2 : 1) * kQueryBytes) {}

  // Calls body(first token, K tile, V tile) for every tile.
  template <typename Body>
  __device__ void for_each_tile(const Body& body) {
    load_queries();
#pragma unroll
    for (int ahead = 0; ahead < Traits::kNumStages - 1; ++ahead) {
      load_tile(first_tile_ + ahead, ahead);
      commit_copies();
    }
    int stage = 0;
    for (int tile = first_tile_; tile < end_tile_; ++tile) {
      wait_for_copies<Traits::kNumStages - 2>();
      __syncthreads();
      load_tile(tile + Traits::kNumStages - 1, stage == 0 ? Traits::kNumStages - 1 : stage - 1);
      commit_copies();
      const uint32_t k_tile = tiles_ + stage * kTileBytes;
      body(tile * Base::kTileTokens, k_tile, k_tile + kTileBytes - kPlaneBytes);
      stage = stage == Traits::kNumStages - 1 ? 0 : stage + 1;
    }
    wait_for_copies<0>();
  }

  // Raw scores of a tile; -infinity where a query does not see the token.
  __device__ void score(int first_token, uint32_t k_tile, Scores& scores) const {
    multiply(queries_, k_tile, scores);
    this->mask(first_token, scores);
  }
  // The same, and d_out · v.
  __device__ void score(int first_token, uint32_t k_tile, uint32_t v_tile, Scores& scores,
                        Scores& d_weights) const {
    score(first_token, k_tile, scores);
    multiply(queries_ + kQueryBytes, v_tile, d_weights);
  }
  __device__ void add_weighted(const Scores& weights, uint32_t tile, Outputs& outputs) const {
    add_weighted_rows<Traits>(weights, tile, Traits::kTilePartBytes, outputs);
  }

 private:
  __device__ void multiply(uint32_t queries, uint32_t tile, Scores& products) const {
#pragma unroll
    for (auto& row : products) {
#pragma unroll
      for (auto& product : row) {
        product[0] = product[1] = product[2] = product[3] = 0;
      }
    }
    multiply_rows<Traits>(queries + Base::warp_row() * Traits::kRowBytes, Traits::kQueryPartBytes,
                          tile, Traits::kTilePartBytes, products);
  }
  __device__ void load_queries() const {
    const int64_t plane = int64_t{view_.num_kv_heads} * view_.padded_queries * Traits::kDim;
    const int64_t head = int64_t{kv_head_} * view_.padded_queries * Traits::kDim;
    copy_parts<Traits, Traits::kQueries, Base::kNumThreads>(view_.q + head, first_query_, plane,
                                                            queries_);
    if constexpr (kBackward) {
      copy_parts<Traits, Traits::kQueries, Base::kNumThreads>(view_.d_out + head, first_query_,
                                                              plane, queries_ + kQueryBytes);
    }
  }
  __device__ void load_tile(int tile, int stage) const {
    if (tile >= end_tile_) {
      return;
    }
    const int64_t plane = int64_t{view_.num_kv_heads} * view_.padded_tokens * Traits::kDim;
    const int64_t head = int64_t{kv_head_} * view_.padded_tokens * Traits::kDim;
    const int first = tile * Base::kTileTokens;
    const uint32_t to = tiles_ + stage * kTileBytes;
    copy_parts<Traits, Base::kTileTokens, Base::kNumThreads>(view_.k + head, first, plane, to);
    if constexpr (kReadsV) {
      copy_parts<Traits, Base::kTileTokens, Base::kNumThreads>(view_.v + head, first, plane,
                                                               to + kPlaneBytes);
    }
  }

  uint32_t queries_;
  uint32_t tiles_;
};

}  // namespace lychee::attention::cuda
