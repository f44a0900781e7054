#pragma once

#include "kernels/activation/cuda/silu.cuh"
#include "kernels/linear/cuda/decode/ring.cuh"
#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// A fragment is what one lane holds of a column tile's results: one output of either band
// (x, y and z, w) for two activation rows (x, z and y, w). A tile has kTileResults / 4 of them,
// column tile by column tile.
struct FragmentRows {
  int first, second;
};
template <typename Format>
__device__ FragmentRows fragment_rows(int fragment) {
  const int tile = fragment / kWarpSize * 8;
  const int column = fragment % 4;
  return Format::kIntegers ? FragmentRows{tile + column, tile + column + 4}
                           : FragmentRows{tile + 2 * column, tile + 2 * column + 1};
}
// Whether a kernel has second rows of fragments at all.
template <typename Traits>
constexpr bool kHasSecondRows = !Traits::Format::kIntegers || Traits::kMaxRows > 4;

// The output of its band that a fragment has.
template <typename Format>
__device__ int output_of_fragment(int fragment) {
  return row_of_group<Format>(fragment % kWarpSize / 4);
}

__device__ inline void add_to(float4& sum, const float4& value) {
  sum.x += value.x;
  sum.y += value.y;
  sum.z += value.z;
  sum.w += value.w;
}

// Neighbours first.
__device__ inline float4 tree_sum(float4 (&values)[kDecodeWarps]) {
#pragma unroll
  for (int width = 1; width < kDecodeWarps; width *= 2) {
#pragma unroll
    for (int i = 0; i < kDecodeWarps; i += 2 * width) {
      add_to(values[i], values[i + width]);
    }
  }
  return values[0];
}

// Null beyond the last row or output.
__device__ inline float* output_of(const DecodeLaunch& p, const DecodeTarget& target, int row,
                                   int output) {
  return row < p.num_rows && output < target.out_features
             ? target.y + row * target.y_stride + output
             : nullptr;
}

__device__ inline void store_output(const DecodeLaunch& p, const DecodeTarget& target, int row,
                                    int output, float value, float residual) {
  if (float* y = output_of(p, target, row, output); y != nullptr) {
    value += target.bias != nullptr ? target.bias[output] : 0.0F;
    *y = p.accumulate ? residual + value : value;
  }
}

__device__ inline void store_swiglu(const DecodeLaunch& p, int row, int output, float value) {
  const DecodeTarget& target = p.targets[0];
  if (p.rounded_swiglu == nullptr) {
    store_output(p, target, row, output, value, 0.0F);
  } else if (row < p.num_rows && output < target.out_features) {
    reinterpret_cast<__nv_bfloat16*>(
        p.rounded_swiglu)[int64_t{row} * target.out_features + output] = __float2bfloat16_rn(value);
  }
}

// What the results of `fragment` of a tile are added to: zeros unless `accumulate`.
template <typename Traits>
__device__ float4 load_residual(const DecodeLaunch& p, int tile, int fragment) {
  using Format = typename Traits::Format;
  if (!p.accumulate) {
    return {0, 0, 0, 0};
  }
  const auto [row, next] = fragment_rows<Format>(fragment);
  const DecodeTarget& target = target_of(p, tile);
  const int output = (tile - target.first_tile) * 16 + output_of_fragment<Format>(fragment);
  const auto load = [&](int r, int o) {
    const float* y = output_of(p, target, r, o);
    return y != nullptr ? *y : 0.0F;
  };
  if constexpr (!kHasSecondRows<Traits>) {
    return {load(row, output), 0, load(row, output + 8), 0};
  }
  return {load(row, output), load(next, output), load(row, output + 8), load(next, output + 8)};
}

// Writes the results of `fragment` of a tile to where they belong.
template <typename Traits>
__device__ void store_results(const DecodeLaunch& p, int tile, int fragment, const float4& sum,
                              const float4& residual) {
  using Format = typename Traits::Format;
  const auto [row, next] = fragment_rows<Format>(fragment);
  const int output_of_tile = output_of_fragment<Format>(fragment);
  if (p.swiglu) {
    const int output = tile * 8 + output_of_tile;
    store_swiglu(p, row, output, activation::cuda::silu_mul_value(sum.x, sum.z));
    if constexpr (kHasSecondRows<Traits>) {
      store_swiglu(p, next, output, activation::cuda::silu_mul_value(sum.y, sum.w));
    }
    return;
  }
  const DecodeTarget& target = target_of(p, tile);
  const int output = (tile - target.first_tile) * 16 + output_of_tile;
  store_output(p, target, row, output, sum.x, residual.x);
  store_output(p, target, row, output + 8, sum.z, residual.z);
  if constexpr (kHasSecondRows<Traits>) {
    store_output(p, target, next, output, sum.y, residual.y);
    store_output(p, target, next, output + 8, sum.w, residual.w);
  }
}

// Where a slice leaves its part of a tile's results for the last block of the column.
template <typename Traits>
__device__ float4* partial_of(const DecodeLaunch& p, int slice, int tile, int fragment) {
  return reinterpret_cast<float4*>(p.partials +
                                   (int64_t{slice} * p.num_tiles + tile) * Traits::kTileResults) +
         fragment;
}

// Leaves the sums over a slice's warps of `num_slices` tiles for merge_slices(): neighbours first,
// so that they are those that the whole sum goes through and the number of slices does not change
// it.
template <typename Traits>
__device__ __noinline__ void leave_partials(const DecodeLaunch& p, int lanes, const float* results,
                                            int first_tile) {
  constexpr int kFragments = Traits::kTileResults / 4;
  for (int i = static_cast<int>(threadIdx.x) % kWarpSize; i < p.num_slices * kFragments;
       i += kWarpSize) {
    const int tile_of_block = i / kFragments;
    const int fragment = i % kFragments;
    const int tile = first_tile + tile_of_block;
    if (tile >= p.num_tiles) {
      return;
    }
    float4 values[kDecodeWarps];
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      values[w] = float4{0, 0, 0, 0};
      if (w < lanes) {
        values[w] = reinterpret_cast<const float4*>(results + (tile_of_block * lanes + w) *
                                                                  Traits::kTileResults)[fragment];
      }
    }
    *partial_of<Traits>(p, static_cast<int>(blockIdx.y), tile, fragment) = tree_sum(values);
  }
}

// What finisher `finisher` of a block does, with every kFinishers-th of its tiles: it adds up what
// the others leave, and stores it, or leaves it for merge_slices().
template <typename Traits>
__device__ void finish_tiles(const DecodeLaunch& p, int finisher, int lanes, const float* results,
                             DecodeBarriers& barriers) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int step = p.num_columns * p.num_slices;
  const float* const all = results + finisher * kDecodeWarps * Traits::kTileResults;
  uint32_t parity = 0;
  for (int tile = static_cast<int>(blockIdx.x) * p.num_slices + finisher * step; tile < p.num_tiles;
       tile += kFinishers * step, parity ^= 1) {
    if (p.num_slices > 1) {
      wait_for_phase(barriers.left[finisher], parity);
      leave_partials<Traits>(p, lanes, all, tile);
      arrive_as_warp(barriers.taken[finisher]);
      continue;
    }
    float4 residuals[Traits::kColumnTiles];
    float4 sums[Traits::kColumnTiles];
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      residuals[column] = load_residual<Traits>(p, tile, column * kWarpSize + lane);
    }
    wait_for_phase(barriers.left[finisher], parity);
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      float4 values[kDecodeWarps];
#pragma unroll
      for (int w = 0; w < kDecodeWarps; ++w) {
        values[w] = reinterpret_cast<const float4*>(
            all + w * Traits::kTileResults)[column * kWarpSize + lane];
      }
      sums[column] = tree_sum(values);
    }
    arrive_as_warp(barriers.taken[finisher]);
#pragma unroll
    for (int column = 0; column < Traits::kColumnTiles; ++column) {
      store_results<Traits>(p, tile, column * kWarpSize + lane, sums[column], residuals[column]);
    }
  }
}

// The last block of a column to arrive adds up the slices of all of its tiles.
template <typename Traits>
__device__ __noinline__ void merge_slices(const DecodeLaunch& p) {
  constexpr int kFragments = Traits::kTileResults / 4;
  __threadfence();
  __syncthreads();
  bool is_last = false;
  if (threadIdx.x == 0) {
    is_last = atomicAdd(p.counters + blockIdx.x, 1) == p.num_slices - 1;
    if (is_last) {
      p.counters[blockIdx.x] = 0;
    }
  }
  if (__syncthreads_or(static_cast<int>(is_last)) == 0) {
    return;
  }
  __threadfence();
  const int per_group = p.num_slices * kFragments;
  const int num_groups = (p.num_tiles + p.num_slices - 1) / p.num_slices;
  const int mine = (num_groups - static_cast<int>(blockIdx.x) + p.num_columns - 1) / p.num_columns;
#pragma unroll 2
  for (int i = threadIdx.x; i < mine * per_group; i += kDecodeBlockThreads) {
    const int group = static_cast<int>(blockIdx.x) + i / per_group * p.num_columns;
    const int tile = group * p.num_slices + i % per_group / kFragments;
    if (tile >= p.num_tiles) {
      continue;
    }
    const float4 residual = load_residual<Traits>(p, tile, i % kFragments);
    float4 values[kDecodeWarps];
#pragma unroll
    for (int slice = 0; slice < kDecodeWarps; ++slice) {
      values[slice] = slice < kMaxSlices && slice < p.num_slices
                          ? __ldcg(partial_of<Traits>(p, slice, tile, i % kFragments))
                          : float4{0, 0, 0, 0};
    }
    store_results<Traits>(p, tile, i % kFragments, tree_sum(values), residual);
  }
}

}  // namespace lychee::linear::cuda
