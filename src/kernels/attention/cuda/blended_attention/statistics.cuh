#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/query_tile.cuh"
#include "kernels/attention/cuda/blended_attention/softmax_sums.cuh"
#include "kernels/attention/cuda/blended_attention/view.h"

namespace lychee::attention::cuda {

// A lane's sums over its columns of one row. Members of the set and other tokens are summed apart:
// each token takes one exponential, and neither sum can vanish beside the other.
struct RowSums {
  SoftmaxSums member, other;

  [[nodiscard]] static __device__ SoftmaxSums of_lane(const SoftmaxSums& sums, int mask) {
    return {__shfl_xor_sync(kAllLanes, sums.max, mask), __shfl_xor_sync(kAllLanes, sums.sum, mask),
            __shfl_xor_sync(kAllLanes, sums.d_sum, mask)};
  }

  __device__ void add_lane(int mask) {
    member.add(of_lane(member, mask));
    other.add(of_lane(other, mask));
  }

  // The scores of one of a tile's slots, with kBackward the gradients of their weights too.
  template <typename Block, bool kBackward>
  __device__ void add_tile(ScoredTile<Block, kBackward>& tile, int slot, float log2_scale) {
    float max_member = kNoScore;
    float max_other = kNoScore;
#pragma unroll
    for (int i = 0; i < Block::kElements; ++i) {
      const float score = Block::at(tile.scores, slot, i);
      if (tile.members[slot].has(i)) {
        max_member = fmaxf(max_member, score);
      } else {
        max_other = fmaxf(max_other, score);
      }
    }
    member.raise_max(max_member * log2_scale);
    other.raise_max(max_other * log2_scale);
#pragma unroll
    for (int i = 0; i < Block::kElements; ++i) {
      const bool is_member = tile.members[slot].has(i);
      const float max = is_member ? member.max : other.max;
      const float weight = exp2_approx(fmaf(Block::at(tile.scores, slot, i), log2_scale, -max));
      float product = 0;
      if constexpr (kBackward) {
        product = weight * Block::at(tile.d_weights, slot, i);
      }
      if (is_member) {
        member.sum += weight;
        member.d_sum += product;
      } else {
        other.sum += weight;
        other.d_sum += product;
      }
    }
  }
};

// grid: (query tiles, KV heads, splits). Fills `statistics`, with kBackward `d_statistics` too.
template <typename Block, bool kBackward>
__global__ void __launch_bounds__(Block::kNumThreads, Block::kMinBlocks)
    blended_statistics_kernel(const __grid_constant__ BlendedView view) {
  constexpr int kSlots = Block::kSlots;
  auto block = start_block<Block>(view);
  RowSums rows[kSlots];
  block.for_each_tile([&](int first, uint32_t k_tile, uint32_t v_tile) {
    ScoredTile<Block, kBackward> tile(block, first, k_tile, v_tile);
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      rows[slot].add_tile(tile, slot, view.log2_scale);
    }
  });
#pragma unroll
  for (int slot = 0; slot < kSlots; ++slot) {
    rows[slot].add_lane(1);
    rows[slot].add_lane(2);
    if (Block::lane() % 4 == 0) {
      const int64_t at =
          (int64_t{blockIdx.z} * view.num_kv_heads + block.kv_head()) * view.padded_queries +
          block.query_of(slot);
      const SoftmaxSums& member = rows[slot].member;
      const SoftmaxSums& other = rows[slot].other;
      view.statistics[at] = {member.max, member.sum, other.max, other.sum};
      if constexpr (kBackward) {
        view.d_statistics[at] = {member.d_sum, other.d_sum};
      }
    }
  }
}

}  // namespace lychee::attention::cuda
