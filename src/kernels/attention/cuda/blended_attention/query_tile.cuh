#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/view.h"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

// How a kernel over tiles of queries begins: the block of queries that this thread block has, once
// what comes before has written all that the view points to.
template <typename Block>
[[nodiscard]] __device__ Block start_block(const BlendedView& view) {
  extern __shared__ __align__(128) unsigned char shared[];
  allow_dependents();
  wait_for_predecessors();
  return Block(view, shared);
}

// What a thread knows of its queries and a tile of tokens.
template <typename Block, bool kBackward>
struct ScoredTile {
  typename Block::Members members[Block::kSlots];
  typename Block::Scores scores;
  [[maybe_unused]] typename Block::Scores d_weights;  // d_out · v, with kBackward

  __device__ ScoredTile(const Block& block, int first_token, uint32_t k_tile, uint32_t v_tile) {
#pragma unroll
    for (int slot = 0; slot < Block::kSlots; ++slot) {
      members[slot] = block.members(first_token, slot);
    }
    if constexpr (kBackward) {
      block.score(first_token, k_tile, v_tile, scores, d_weights);
    } else {
      block.score(first_token, k_tile, scores);
    }
  }
};

}  // namespace lychee::attention::cuda
