#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/query_tile.cuh"
#include "kernels/attention/cuda/blended_attention/view.h"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

// grid: (query tiles, KV heads, splits). Outputs, or with kBackward the queries' gradients, over a
// split's tokens.
template <typename Block, bool kBackward>
__global__ void __launch_bounds__(Block::kNumThreads, Block::kMinBlocks)
    blended_apply_kernel(const __grid_constant__ BlendedView view) {
  constexpr int kSlots = Block::kSlots;
  constexpr int kElements = Block::kElements;
  auto block = start_block<Block>(view);
  RowWeights rows[kSlots];
#pragma unroll
  for (int slot = 0; slot < kSlots; ++slot) {
    rows[slot] =
        view.weights[int64_t{block.kv_head()} * view.padded_queries + block.query_of(slot)];
  }
  typename Block::Outputs outputs = {};
  block.for_each_tile([&](int first, uint32_t k_tile, uint32_t v_tile) {
    // Its scores become weights in their place.
    ScoredTile<Block, kBackward> tile(block, first, k_tile, v_tile);
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        const bool is_member = tile.members[slot].has(i);
        float& weight = Block::at(tile.scores, slot, i);
        weight = exp2_approx(
            fmaf(weight, view.log2_scale,
                 -(is_member ? rows[slot].log2_sum_member : rows[slot].log2_sum_other)));
        if constexpr (kBackward) {
          weight *= Block::at(tile.d_weights, slot, i) -
                    (is_member ? rows[slot].mean_member : rows[slot].mean_other);
        }
      }
    }
    block.add_weighted(tile.scores, kBackward ? k_tile : v_tile, outputs);
  });
  float scales[kSlots];
#pragma unroll
  for (float& scale : scales) {
    scale = kBackward ? view.scale : 1.0F;
  }
  block.store(
      outputs, scales,
      view.out + int64_t{blockIdx.z} * view.num_queries * view.num_kv_heads * view.head_dim);
}

}  // namespace lychee::attention::cuda
