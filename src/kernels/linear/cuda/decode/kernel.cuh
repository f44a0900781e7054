#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/device_assert.cuh"
#include "kernels/cuda/matrix.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/formats.cuh"
#include "kernels/linear/cuda/decode/inputs.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/decode/results.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// Where a lane finds its row of the two bands of a tile.
struct TileRows {
  const std::byte* low;
  const std::byte* high;
};

template <typename Format>
__device__ TileRows tile_rows(const DecodeLaunch& p, int tile, int lane) {
  tile = min(tile, p.num_tiles - 1);
  const DecodeTarget& target = target_of(p, tile);
  const int64_t row_offset = Format::kRowMajor ? lane / 4 * (p.band_bytes / kBandRows) : 0;
  if (p.swiglu) {
    const int64_t offset = tile * p.band_bytes + row_offset;
    return {p.targets[0].weight + offset, p.targets[1].weight + offset};
  }
  const int band = 2 * (tile - target.first_tile);
  return {target.weight + band * p.band_bytes + row_offset,
          target.weight + min(band + 1, target.num_bands - 1) * p.band_bytes + row_offset};
}

// Some tiles of both bands, on their way from memory.
template <typename Format>
struct Batch {
  typename Format::Tile low[Format::kBatch];
  typename Format::Tile high[Format::kBatch];
  float row_scale_low, row_scale_high;  // where the format has them
};

// Tiles first … of the row; nothing is read beyond its end, where the activations are zero.
template <typename Format>
__device__ void load_batch(Batch<Format>& batch, const TileRows& rows, int first, int num_steps,
                           int lane) {
#pragma unroll
  for (int i = 0; i < Format::kBatch; ++i) {
    const int step = min(first + i, num_steps - 1);
    const int64_t offset = Format::kHeaderBytes + int64_t{step} * Format::kTileBytes;
    batch.low[i] = Format::load(rows.low + offset, lane);
    batch.high[i] = Format::load(rows.high + offset, lane);
  }
  if constexpr (Format::kRowScale) {
    batch.row_scale_low = __uint_as_float(load_once_4(rows.low + lane / 4 * 4));
    batch.row_scale_high = __uint_as_float(load_once_4(rows.high + lane / 4 * 4));
  }
}

// A lane's operands of one run of 32 inputs.
template <typename Traits>
struct RunOperands {
  uint32_t low[Traits::Format::kParts][4];
  uint32_t high[Traits::Format::kParts][4];
  uint4 x[Traits::kColumnTiles];

  __device__ RunOperands(const typename Traits::Format::Tile& low_tile,
                         const typename Traits::Format::Tile& high_tile, int run,
                         const std::byte* inputs, int num_rows, int lane) {
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      // Columns beyond the last row repeat it; nobody looks at what they give.
      const int row = min(column * 8 + lane / 4, num_rows - 1);
      x[column] =
          *reinterpret_cast<const uint4*>(inputs + (run * num_rows + row) * 64 + lane % 4 * 16);
    }
    Traits::Format::weights(low_tile, run, low);
    Traits::Format::weights(high_tile, run, high);
  }
  // The first or second 16 inputs of the run.
  template <int kHalf>
  __device__ void multiply(float (&c)[Traits::kColumnTiles][4]) const {
#pragma unroll
    for (int part = 0; part < Traits::Format::kParts; ++part) {
      const uint32_t a[4] = {low[part][2 * kHalf], high[part][2 * kHalf], low[part][2 * kHalf + 1],
                             high[part][2 * kHalf + 1]};
#pragma unroll
      for (int column = 0; column < Traits::kColumnTiles; ++column) {
        multiply_add<__nv_bfloat16>(c[column], a, kHalf == 0 ? x[column].x : x[column].z,
                                    kHalf == 0 ? x[column].y : x[column].w);
      }
    }
  }
};

// The scales of a lane's rows in a tile of the format.
template <typename Format>
struct TileScales {
  float low[Format::kStepK / Format::kGroup];
  float high[Format::kStepK / Format::kGroup];
  float min_low[4];
  float min_high[4];

  __device__ TileScales(const typename Format::Tile& low_tile,
                        const typename Format::Tile& high_tile) {
    Format::scales(low_tile, low, min_low);
    Format::scales(high_tile, high, min_high);
  }
};

// acc += scale · c, and c = 0.
template <int kColumns>
__device__ void add_group(float (&acc)[kColumns][4], float (&c)[kColumns][4], float low,
                          float high) {
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
    acc[column][0] += low * c[column][0];
    acc[column][1] += low * c[column][1];
    acc[column][2] += high * c[column][2];
    acc[column][3] += high * c[column][3];
    c[column][0] = c[column][1] = c[column][2] = c[column][3] = 0;
  }
}

// acc += min · the sum of the run's activations.
template <int kColumns>
__device__ void add_min(float (&acc)[kColumns][4], float low, float high, const float* sums,
                        int lane) {
#pragma unroll
  for (int column = 0; column < kColumns; ++column) {
    const float2 sum = *reinterpret_cast<const float2*>(sums + column * 8 + lane % 4 * 2);
    acc[column][0] += low * sum.x;
    acc[column][1] += low * sum.y;
    acc[column][2] += high * sum.x;
    acc[column][3] += high * sum.y;
  }
}

// acc += the products of one tile of the format. Two sums at a time, since an instruction waits for
// the one before it that adds to the same.
template <typename Traits>
__device__ void multiply_tile(float (&acc)[2][Traits::kColumnTiles][4],
                              const typename Traits::Format::Tile& low,
                              const typename Traits::Format::Tile& high, const std::byte* inputs,
                              const float* sums, int num_rows, int lane) {
  using Format = typename Traits::Format;
  if constexpr (Format::kGroup == 0) {
#pragma unroll
    for (int run = 0; run < Traits::kRunsPerTile; ++run) {
      const RunOperands<Traits> operands(low, high, run, inputs, num_rows, lane);
      operands.template multiply<0>(acc[0]);
      operands.template multiply<1>(acc[1]);
    }
  } else {
    const TileScales<Format> scales(low, high);
    float c[2][Traits::kColumnTiles][4] = {};
#pragma unroll
    for (int run = 0; run < Traits::kRunsPerTile; ++run) {
      const RunOperands<Traits> operands(low, high, run, inputs, num_rows, lane);
      operands.template multiply<0>(c[0]);
      operands.template multiply<1>(c[1]);
      if ((run + 1) * 32 % Format::kGroup == 0 || Format::kGroup == 16) {
        const int last = (run + 1) * 32 / Format::kGroup - 1;
        const int first = Format::kGroup == 16 ? last - 1 : last;
        add_group(acc[0], c[0], scales.low[first], scales.high[first]);
        add_group(acc[1], c[1], scales.low[last], scales.high[last]);
      }
      if constexpr (Format::kHasMin) {
        add_min(acc[run % 2], scales.min_low[run], scales.min_high[run],
                sums + run * 8 * Traits::kColumnTiles, lane);
      }
    }
  }
}

// Leaves a warp's sums of a tile, scaled by row where the format is, where finish_tiles() finds
// them, and begins anew.
template <typename Traits>
__device__ void leave_sums(float (&acc)[2][Traits::kColumnTiles][4],
                           const Batch<typename Traits::Format>& batch, float* results, int lane) {
  float low = 1;
  float high = 1;
  if constexpr (Traits::Format::kRowScale) {
    low = batch.row_scale_low;
    high = batch.row_scale_high;
  }
#pragma unroll
  for (int column = 0; column < Traits::kColumnTiles; ++column) {
    auto& c = acc[0][column];
    auto& d = acc[1][column];
    *reinterpret_cast<float4*>(results + column * kFragment + lane * 4) = {
        low * (c[0] + d[0]), low * (c[1] + d[1]), high * (c[2] + d[2]), high * (c[3] + d[3])};
    c[0] = c[1] = c[2] = c[3] = 0;
    d[0] = d[1] = d[2] = d[3] = 0;
  }
}

// grid: (columns of blocks, slices of the inputs). A block takes num_slices tiles at a time, each
// by as many warps as the slice has lanes of the sum, and always has the next batch of weights on
// its way while it multiplies one.
template <typename Traits>
__global__ void __launch_bounds__(kDecodeThreads, 1)
    linear_decode_kernel(const __grid_constant__ DecodeLaunch p) {
  using Format = typename Traits::Format;
  extern __shared__ __align__(16) std::byte shared[];
  const DecodeShare<Traits> share(p);
  const int warp = threadIdx.x / kWarpSize;
  const int lane = threadIdx.x % kWarpSize;
  std::byte* inputs = shared;
  auto* sums =
      reinterpret_cast<float*>(inputs + decode_inputs_bytes<Traits>(share.runs, p.num_rows));
  auto* results = sums + decode_sums_bytes<Traits>(share.runs) / 4;
  const int lane_of_sum = warp % share.lanes;
  const int tile_of_block = warp / share.lanes;
  const int tile_step = p.num_columns * p.num_slices;
  const auto first_step = [&](int batch) {
    return (batch * kDecodeWarps + share.first_lane + lane_of_sum) * Format::kBatch;
  };

  LYCHEE_DEVICE_ASSERT(p.num_rows <= 8 * Traits::kColumnTiles);
  allow_dependents();
  Batch<Format> batches[2];
  int load_tile = blockIdx.x * p.num_slices;
  int load_batch_id = 0;
  TileRows rows = tile_rows<Format>(p, load_tile + tile_of_block, lane);
  const auto load_next = [&](Batch<Format>& batch) {
    if (load_tile < p.num_tiles) {
      load_batch(batch, rows, first_step(load_batch_id), share.num_steps, lane);
    }
    if (++load_batch_id == share.batches) {
      load_batch_id = 0;
      load_tile += tile_step;
      rows = tile_rows<Format>(p, load_tile + tile_of_block, lane);
    }
  };
  load_next(batches[0]);
  load_next(batches[1]);
  if (p.norm_weight != nullptr) {
    fetch_norm_weight(p, share, results);
  }
  wait_for_predecessors();
  stage_inputs(p, share, inputs, sums, results);

  float acc[2][Traits::kColumnTiles][4] = {};
  int tile = blockIdx.x * p.num_slices;
  int batch_id = 0;
  int parity = 0;
  const auto multiply = [&](const Batch<Format>& batch) {
#pragma unroll
    for (int i = 0; i < Format::kBatch; ++i) {
      const int run =
          (batch_id * share.lanes + lane_of_sum) * Traits::kRunsPerBatch + i * Traits::kRunsPerTile;
      multiply_tile<Traits>(acc, batch.low[i], batch.high[i],
                            inputs + int64_t{run} * p.num_rows * 64,
                            sums + run * 8 * Traits::kColumnTiles, p.num_rows, lane);
    }
    if (++batch_id < share.batches) {
      return;
    }
    float* mine = results + (parity * kDecodeWarps + warp) * Traits::kTileResults;
    leave_sums<Traits>(acc, batch, mine, lane);
    // On its way while the block waits for its last warp.
    float4 residual = {0, 0, 0, 0};
    if (p.num_slices == 1 && threadIdx.x < Traits::kTileResults / 4) {
      residual = load_residual(p, tile, static_cast<int>(threadIdx.x));
    }
    __syncthreads();
    // The other half of `results` serves the next tiles, so that one barrier each is enough.
    finish_tiles<Traits>(p, share.lanes, results + parity * kDecodeWarps * Traits::kTileResults,
                         tile, residual);
    parity ^= 1;
    batch_id = 0;
    tile += tile_step;
  };
  while (tile < p.num_tiles) {
    multiply(batches[0]);
    load_next(batches[0]);
    if (tile >= p.num_tiles) {
      break;
    }
    multiply(batches[1]);
    load_next(batches[1]);
  }
  if (p.num_slices > 1) {
    merge_slices<Traits>(p);
  }
}

}  // namespace lychee::linear::cuda
