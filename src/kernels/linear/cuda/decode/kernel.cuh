#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/device_assert.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/floats.cuh"
#include "kernels/linear/cuda/decode/formats.cuh"
#include "kernels/linear/cuda/decode/inputs.cuh"
#include "kernels/linear/cuda/decode/integers.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/decode/results.cuh"
#include "kernels/linear/cuda/decode/tile_output.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// Where a lane finds its row of the two bands of a tile.
template <typename Format>
class TileRows {
 public:
  __device__ TileRows(const DecodeLaunch& p, int tile, int lane) : lane_(lane) { find(p, tile); }
  // To a later tile, tile_step on. Most lie as far behind the last one as that behind the one
  // before.
  __device__ void advance(const DecodeLaunch& p, int tile) {
    if (tile < regular_end_) {
      low += p.tile_step_bytes;
      high += p.tile_step_bytes;
    } else {
      find(p, tile);
    }
  }

  const std::byte* low;
  const std::byte* high;

 private:
  __device__ void find(const DecodeLaunch& p, int tile) {
    tile = min(tile, p.num_tiles - 1);
    const int64_t row_offset = Format::kRowMajor ? lane_ / 4 * (p.band_bytes / kBandRows) : 0;
    if (p.swiglu) {
      const int64_t offset = tile * p.band_bytes + row_offset;
      low = p.targets[0].weight + offset;
      high = p.targets[1].weight + offset;
      regular_end_ = p.num_tiles;
      return;
    }
    const DecodeTarget& target = target_of(p, tile);
    const int band = 2 * (tile - target.first_tile);
    low = target.weight + band * p.band_bytes + row_offset;
    high = target.weight + min(band + 1, target.num_bands - 1) * p.band_bytes + row_offset;
    regular_end_ = target.first_tile + target.num_bands / 2;
  }

  int lane_;
  int regular_end_;  // tiles below it belong to the same weight and have both bands
};

// Some tiles of both bands, on their way from memory.
template <typename Format>
struct Batch {
  typename Format::Tile low[Format::kBatch];
  typename Format::Tile high[Format::kBatch];
  float low_scale, high_scale;  // of rows
};

// Tiles first … of the row; nothing is read beyond its end, where the activations are zero.
template <typename Format>
__device__ void load_batch(Batch<Format>& batch, const TileRows<Format>& rows, int first,
                           int num_steps, int lane) {
#pragma unroll
  for (int i = 0; i < Format::kBatch; ++i) {
    const int step = min(first + i, num_steps - 1);
    const int64_t offset = Format::kHeaderBytes + int64_t{step} * Format::kTileBytes;
    batch.low[i] = Format::load(rows.low + offset, lane);
    batch.high[i] = Format::load(rows.high + offset, lane);
  }
  batch.low_scale = batch.high_scale = 1;
  if constexpr (Format::kRowScale) {
    batch.low_scale = __uint_as_float(load_once_4(rows.low + lane / 4 * 4));
    batch.high_scale = __uint_as_float(load_once_4(rows.high + lane / 4 * 4));
  }
}

template <typename Traits>
using Products =
    std::conditional_t<Traits::Format::kIntegers, IntegerProducts<Traits>, FloatProducts<Traits>>;

// What the warps that multiply do; each always has the next batch of weights on its way while it
// multiplies one.
template <typename Traits>
__device__ void multiply_tiles(const DecodeLaunch& p, const DecodeShare<Traits>& share,
                               const Staged<Traits>& staged) {
  using Format = typename Traits::Format;
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  const int lane_of_sum = warp % share.lanes;
  const int tile_of_block = warp / share.lanes;
  const int tile_step = p.num_columns * p.num_slices;
  const auto first_step = [&](int batch) {
    return (batch * kDecodeWarps + share.first_lane + lane_of_sum) * Format::kBatch;
  };

  Batch<Format> batches[2];
  int load_tile = blockIdx.x * p.num_slices;
  int load_batch_id = 0;
  TileRows<Format> rows(p, load_tile + tile_of_block, lane);
  const auto load_next = [&](Batch<Format>& batch) {
    if (load_tile < p.num_tiles) {
      load_batch(batch, rows, first_step(load_batch_id), p.num_steps, lane);
    }
    if (++load_batch_id == p.num_batches) {
      load_batch_id = 0;
      load_tile += tile_step;
      rows.advance(p, load_tile + tile_of_block);
    }
  };
  load_next(batches[0]);
  load_next(batches[1]);
  if (p.norm_weight != nullptr) {
    fetch_norm_weight(p, share, staged.results);
  }
  wait_for_predecessors();
  stage_inputs(p, share, staged);

  Products<Traits> products;
  TileOutput<Traits> output(p);
  int tile = blockIdx.x * p.num_slices;
  int batch_id = 0;
  int parity = 0;
  const auto multiply = [&](Batch<Format>& batch) {
#pragma unroll
    for (int i = 0; i < Format::kBatch; ++i) {
      const int run =
          (batch_id * share.lanes + lane_of_sum) * Traits::kRunsPerBatch + i * Traits::kRunsPerTile;
      products.add_tile(batch.low[i], batch.high[i], staged, run, share.runs, p.num_rows, lane);
    }
    const float low_scale = batch.low_scale;
    const float high_scale = batch.high_scale;
    // Before the pause at the barrier, which else shows: of packed weights half as many bytes are
    // under way as of plain ones, and those lose by it.
    if constexpr (Traits::kFinishesApart) {
      load_next(batch);
    }
    if (++batch_id == p.num_batches) {
      // The other half of `results` serves the next tile, so that one barrier each is enough.
      float* mine = staged.results + (parity * kDecodeWarps + warp) * Traits::kTileResults;
      products.leave(low_scale, high_scale, mine, lane);
      if constexpr (Traits::kFinishesApart) {
        __syncthreads();
      } else {
        const float* all = staged.results + parity * kDecodeWarps * Traits::kTileResults;
        if (p.num_slices == 1) {
          output.begin(p, tile);
          __syncthreads();
          output.finish(p, all);
        } else {
          __syncthreads();
          leave_partials<Traits>(p, share.lanes, all, tile);
        }
      }
      parity ^= 1;
      batch_id = 0;
      tile += tile_step;
    }
    if constexpr (!Traits::kFinishesApart) {
      load_next(batch);
    }
  };
  while (tile < p.num_tiles) {
    multiply(batches[0]);
    if (tile >= p.num_tiles) {
      break;
    }
    multiply(batches[1]);
  }
}

// grid: (columns of blocks, slices of the inputs). A block takes num_slices tiles at a time, each
// by as many warps as the slice has lanes of the sum. Where it finishes apart, one more warp adds
// up what those leave.
template <typename Traits>
__global__ void __launch_bounds__(Traits::kBlockThreads, 1)
    linear_decode_kernel(const __grid_constant__ DecodeLaunch p) {
  extern __shared__ __align__(16) std::byte shared[];
  const DecodeShare<Traits> share(p);
  const Staged<Traits> staged(shared, share.runs, p.num_rows);
  LYCHEE_DEVICE_ASSERT(p.num_rows <= Traits::kMaxRows);
  allow_dependents();
  if (!Traits::kFinishesApart || threadIdx.x < kDecodeThreads) {
    multiply_tiles(p, share, staged);
  } else {
    wait_for_predecessors();
    finish_tiles<Traits>(p, share.lanes, staged.results);
  }
  if (p.num_slices > 1) {
    merge_slices<Traits>(p);
  }
}

}  // namespace lychee::linear::cuda
