#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/view.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

// Tokens of a row that a warp stores at once, and a row's floats in shared memory: pairs of floats
// of eight rows fall into different banks.
constexpr int kStoredTokens = 32;
constexpr int kStoredStride = kStoredTokens + 8;

// grid: (query tiles, KV heads, splits). Raw scores of the tokens that each query sees. They go
// through shared memory: straight from the products' layout, memory takes a third of the rate.
template <typename Block>
__global__ void __launch_bounds__(Block::kNumThreads, Block::kMinBlocks)
    blended_scores_kernel(const __grid_constant__ BlendedView view,
                          const __grid_constant__ ScoresOutput output) {
  constexpr int kSlots = Block::kSlots;
  constexpr int kPairs = kStoredTokens / 8;
  __shared__ float stored[Block::kNumWarps][8 * kSlots][kStoredStride];
  extern __shared__ __align__(128) unsigned char shared[];
  allow_dependents();
  wait_for_predecessors();
  if (!output.wanted[blockIdx.y]) {
    return;
  }
  Block block(view, shared);
  auto& rows = stored[threadIdx.x / 32];
  // Lane l knows where row l of the warp's goes, and the last token it sees.
  const int query = block.query_of(0) - Block::lane() / 4 + Block::lane();
  const int target = query / view.group_size;
  const int head = block.kv_head() * view.group_size + query % view.group_size;
  const int64_t offset = (int64_t{head} * view.num_rows + target) * output.stride;
  const int last = query < view.num_queries ? view.context_len + target : -1;
  block.for_each_tile([&](int first, uint32_t k_tile, uint32_t /*v_tile*/) {
    typename Block::Scores scores;
    block.score(first, k_tile, scores);
#pragma unroll
    for (int part = 0; part < Block::kTileTokens / kStoredTokens; ++part) {
#pragma unroll
      for (int slot = 0; slot < kSlots; ++slot) {
#pragma unroll
        for (int pair = 0; pair < kPairs; ++pair) {
          const int i = 2 * (part * kPairs + pair);
          *reinterpret_cast<float2*>(
              &rows[slot * 8 + Block::lane() / 4][Block::column(2 * pair)]) = {
              Block::at(scores, slot, i), Block::at(scores, slot, i + 1)};
        }
      }
      __syncwarp();
      const int token = first + part * kStoredTokens + Block::lane();
      for (int row = 0; row < 8 * kSlots; ++row) {
        const int64_t to = __shfl_sync(kAllLanes, offset, row);
        if (token <= __shfl_sync(kAllLanes, last, row)) {
          output.scores[to + token] = rows[row][Block::lane()];
        }
      }
      __syncwarp();
    }
  });
}

}  // namespace lychee::attention::cuda
