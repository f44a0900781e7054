#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/blended_attention/query_tile.cuh"
#include "kernels/attention/cuda/blended_attention/softmax_sums.cuh"
#include "kernels/attention/cuda/blended_attention/view.h"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

// How far, in base 2, scores may rise above the maximum that weights are relative to before all of
// a row's sums are scaled down. Weights of bf16 and sums of f32 have room for far more.
constexpr float kMaxRise = 8;

// grid: (query tiles, KV heads). Outputs where there are no sets, in one pass over the tokens.
template <typename Block>
__global__ void __launch_bounds__(Block::kNumThreads, Block::kMinBlocks)
    blended_dense_kernel(const __grid_constant__ BlendedView view) {
  constexpr int kSlots = Block::kSlots;
  constexpr int kElements = Block::kElements;
  auto block = start_block<Block>(view);
  float max[kSlots];   // base 2, the same in all lanes of a row
  float sums[kSlots];  // over a lane's columns
#pragma unroll
  for (int slot = 0; slot < kSlots; ++slot) {
    max[slot] = kNoScore;
    sums[slot] = 0;
  }
  typename Block::Outputs outputs = {};
  block.for_each_tile([&](int first, uint32_t k_tile, uint32_t v_tile) {
    typename Block::Scores weights;
    block.score(first, k_tile, weights);
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
      float best = -INFINITY;
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        best = fmaxf(best, Block::at(weights, slot, i));
      }
      best = max_over_lanes<1, 4>(best) * view.log2_scale;
      if (best > max[slot] + kMaxRise) {
        const float factor = exp2_approx(max[slot] - best);
        max[slot] = best;
        sums[slot] *= factor;
#pragma unroll
        for (auto& tile : outputs[slot / 2]) {
          tile[2 * (slot % 2)] *= factor;
          tile[2 * (slot % 2) + 1] *= factor;
        }
      }
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        float& weight = Block::at(weights, slot, i);
        weight = exp2_approx(fmaf(weight, view.log2_scale, -max[slot]));
        sums[slot] += weight;
      }
    }
    block.add_weighted(weights, v_tile, outputs);
  });
#pragma unroll
  for (float& sum : sums) {
    sum = 1.0F / sum_over_lanes<1, 4>(sum);
  }
  block.store(outputs, sums, view.out);
}

}  // namespace lychee::attention::cuda
