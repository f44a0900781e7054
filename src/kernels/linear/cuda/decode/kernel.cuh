#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/device_assert.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/floats.cuh"
#include "kernels/linear/cuda/decode/formats.cuh"
#include "kernels/linear/cuda/decode/inputs.cuh"
#include "kernels/linear/cuda/decode/integers.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/decode/results.cuh"
#include "kernels/linear/cuda/decode/ring.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

template <typename Traits>
using Products =
    std::conditional_t<Traits::Format::kIntegers, IntegerProducts<Traits>, FloatProducts<Traits>>;

// What the warps that multiply do, once their activations are there. kHeld: a tile is one batch, so
// a warp multiplies the same inputs for each and keeps them.
template <typename Traits, bool kHeld>
__device__ void multiply_tiles(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                               const Staged<Traits>& staged, const std::byte* ring,
                               DecodeBarriers& barriers) {
  using Format = typename Traits::Format;
  using Tile = typename Format::Tile;
  constexpr int kBatch = Format::kBatch;
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const int lane_of_sum = warp & (share.lanes - 1);
  const int tile_of_block = warp >> (__ffs(share.lanes) - 1);
  const int tile_step = p.num_columns * p.num_slices;
  const StageShape<Format> shape(share.lanes, p.num_slices);
  // The lower band of this warp's tile in the first stage.
  const std::byte* const band = ring + 2 * tile_of_block * shape.band_bytes;
  const std::byte* const piece = band + lane_of_sum * StageShape<Format>::kLanePiece;
  const BatchPlace<Format> low_place(piece, lane);
  const BatchPlace<Format> high_place(piece + shape.band_bytes, lane);
  const std::byte* const header = band + shape.piece_bytes + lane / 4 * 4;

  const uint32_t filled = kept_address(shared_address(barriers.filled));
  const uint32_t emptied = kept_address(shared_address(barriers.emptied));
  Products<Traits> products(staged, share.runs, p.num_rows, lane);
  if constexpr (kHeld) {
    products.hold(lane_of_sum * Traits::kRunsPerBatch);
  }
  RingPlace place;
  RingPlace result;  // of the finishers' buffers
  for (int tile = static_cast<int>(blockIdx.x) * p.num_slices; tile < p.num_tiles;
       tile += tile_step) {
    float low_scale = 1;
    float high_scale = 1;
    int run = lane_of_sum * Traits::kRunsPerBatch;
    int count = p.num_steps - (share.first_lane + lane_of_sum) * kBatch;  // of tiles that are left
    const int num_batches = kHeld ? 1 : p.num_batches;
    for (int batch = 0; batch < num_batches; ++batch) {
      const int stage_offset = place.stage * p.stage_bytes;
      Tile lows[kBatch];
      Tile highs[kBatch];
      wait_for_phase(filled + static_cast<uint32_t>(place.stage) * 8, place.parity);
      // Plain rows are zero beyond their end; where packed ones have ended other weights' are left.
      const bool exists = Format::kRowMajor || count > 0;
      if (exists) {
        low_place.take(lows, stage_offset, count, lane);
        high_place.take(highs, stage_offset, count, lane);
      }
      if constexpr (Format::kRowScale) {
        // There with the tile's last batch.
        low_scale = take<float>(header + stage_offset);
        high_scale = take<float>(header + stage_offset + shape.band_bytes);
      }
      arrive_as_warp(emptied + static_cast<uint32_t>(place.stage) * 8);
      place.advance(p.num_stages);
      if (exists) {
        if constexpr (kHeld) {
          products.add_to_held(lows, highs);
        } else {
          products.add(lows, highs, run);
        }
      }
      run += share.lanes * Traits::kRunsPerBatch;
      count -= kDecodeWarps * kBatch;
    }
    wait_for_phase(barriers.taken[result.stage], result.parity ^ 1);
    products.leave(low_scale, high_scale,
                   staged.results + (result.stage * kDecodeWarps + warp) * Traits::kTileResults,
                   lane);
    arrive_as_warp(barriers.left[result.stage]);
    result.advance(kFinishers);
  }
}

// grid: (columns of blocks, slices of the inputs). A block takes num_slices tiles at a time, each
// by as many warps as the slice has lanes of the sum. One more warp loads the weights, and others
// add up what those that multiply leave of a tile: so none of them waits for memory or for another.
//
// What comes before the first product is run once, from cold caches of instructions and constants,
// at 3 to 10 cycles an instruction: it holds no divisions, and the loader has its first weights
// under way before anything else.
template <typename Traits>
__global__ void __launch_bounds__(kDecodeBlockThreads, 1)
    linear_decode_kernel(const __grid_constant__ DecodeLaunch p,
                         const __grid_constant__ typename Traits::Maps maps) {
  __shared__ DecodeBarriers barriers;
  const DecodeShare<Traits> share(p);
  std::byte* const memory = block_memory();
  std::byte* const ring = memory + (-shared_address(memory) & (kRingAlignment - 1));
  const Staged<Traits> staged(ring + p.num_stages * p.stage_bytes, share.runs, p.num_rows);
  LYCHEE_DEVICE_ASSERT(p.num_rows <= Traits::kMaxRows);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int finisher = warp - kDecodeWarps;  // its number; negative for those that multiply
  if (finisher == kFinishers) {
    init_filled(barriers);
    arrive_threads<kAllThere, kDecodeBlockThreads>();
    StageLoader<Traits>(p, maps, share, ring, barriers).run();
  } else {
    if (finisher == 0) {
      init_others(barriers);
      arrive_threads<kOthersThere, 2 * kWarpSize>();
    }
    sync_threads<kAllThere, kDecodeBlockThreads>();
    allow_dependents();
  }
  if (finisher < 0) {
    if (p.norm_weight != nullptr) {
      fetch_norm_weight(p, share.runs, staged.results);
    }
    wait_for_predecessors();
    stage_inputs(p, share, staged, barriers.fetched);
    if (Products<Traits>::kCanHold && p.num_batches == 1) {
      multiply_tiles<Traits, Products<Traits>::kCanHold>(p, share, staged, ring, barriers);
    } else {
      multiply_tiles<Traits, false>(p, share, staged, ring, barriers);
    }
  } else if (finisher < kFinishers) {
    wait_for_predecessors();
    finish_tiles<Traits>(p, finisher, share.lanes, staged.results, barriers);
  }
  if (p.num_slices > 1) {
    merge_slices<Traits>(p);
  }
}

}  // namespace lychee::linear::cuda
