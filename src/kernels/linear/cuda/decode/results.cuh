#pragma once

#include "kernels/linear/cuda/decode/traits.cuh"

namespace lychee::linear::cuda {

// The results of the matrix instruction that one lane holds: output rows lane / 4 of both bands
// (x, y and z, w), activation rows 2 (lane % 4) and the next of a column tile. A tile has
// kTileResults / 4 of them, column tile by column tile.
__device__ inline float4 tree_sum(float4 (&values)[kDecodeWarps]) {
#pragma unroll
  for (int width = 1; width < kDecodeWarps; width *= 2) {
#pragma unroll
    for (int i = 0; i < kDecodeWarps; i += 2 * width) {
      values[i].x += values[i + width].x;
      values[i].y += values[i + width].y;
      values[i].z += values[i + width].z;
      values[i].w += values[i + width].w;
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

__device__ inline float silu_times(float gate, float up) {
  return gate / (1.0F + __expf(-gate)) * up;
}

// What the results of `fragment` of a tile are added to: zeros unless `accumulate`.
__device__ inline float4 load_residual(const DecodeLaunch& p, int tile, int fragment) {
  if (!p.accumulate) {
    return {0, 0, 0, 0};
  }
  const int lane = fragment % kWarpSize;
  const int row = fragment / kWarpSize * 8 + lane % 4 * 2;
  const DecodeTarget& target = target_of(p, tile);
  const int output = (tile - target.first_tile) * 16 + lane / 4;
  const auto load = [&](int r, int o) {
    const float* y = output_of(p, target, r, o);
    return y != nullptr ? *y : 0.0F;
  };
  return {load(row, output), load(row + 1, output), load(row, output + 8),
          load(row + 1, output + 8)};
}

// Writes the results of `fragment` of a tile to where they belong.
__device__ inline void store_results(const DecodeLaunch& p, int tile, int fragment,
                                     const float4& sum, const float4& residual) {
  const int lane = fragment % kWarpSize;
  const int row = fragment / kWarpSize * 8 + lane % 4 * 2;
  if (p.swiglu) {
    const int output = tile * 8 + lane / 4;
    store_swiglu(p, row, output, silu_times(sum.x, sum.z));
    store_swiglu(p, row + 1, output, silu_times(sum.y, sum.w));
    return;
  }
  const DecodeTarget& target = target_of(p, tile);
  const int output = (tile - target.first_tile) * 16 + lane / 4;
  store_output(p, target, row, output, sum.x, residual.x);
  store_output(p, target, row + 1, output, sum.y, residual.y);
  store_output(p, target, row, output + 8, sum.z, residual.z);
  store_output(p, target, row + 1, output + 8, sum.w, residual.w);
}

// Where a slice leaves its part of a tile's results for the last block of the column.
template <typename Traits>
__device__ float4* partial_of(const DecodeLaunch& p, int slice, int tile, int fragment) {
  return reinterpret_cast<float4*>(p.partials +
                                   (int64_t{slice} * p.num_tiles + tile) * Traits::kTileResults) +
         fragment;
}

// Adds up the warps' results of `num_slices` tiles, neighbours first, and stores or hands them on.
// The sums of a slice are those that the whole sum goes through, so that the number of slices does
// not change it. `residual`: this thread's of the only slice.
template <typename Traits>
__device__ void finish_tiles(const DecodeLaunch& p, int lanes, const float* results, int first_tile,
                             const float4& residual) {
  constexpr int kFragments = Traits::kTileResults / 4;
  for (int i = threadIdx.x; i < p.num_slices * kFragments; i += kDecodeThreads) {
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
    const float4 sum = tree_sum(values);
    if (p.num_slices > 1) {
      *partial_of<Traits>(p, static_cast<int>(blockIdx.y), tile, fragment) = sum;
    } else {
      store_results(p, tile, fragment, sum, residual);
    }
  }
}

// The last block of a column to arrive adds up the slices of all of its tiles.
template <typename Traits>
__device__ void merge_slices(const DecodeLaunch& p) {
  constexpr int kFragments = Traits::kTileResults / 4;
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(p.counters + blockIdx.x, 1) == p.num_slices - 1;
    if (last) {
      p.counters[blockIdx.x] = 0;
    }
  }
  __syncthreads();
  if (!last) {
    return;
  }
  __threadfence();
  const int per_group = p.num_slices * kFragments;
  const int num_groups = (p.num_tiles + p.num_slices - 1) / p.num_slices;
  const int mine = (num_groups - static_cast<int>(blockIdx.x) + p.num_columns - 1) / p.num_columns;
#pragma unroll 2
  for (int i = threadIdx.x; i < mine * per_group; i += kDecodeThreads) {
    const int group = static_cast<int>(blockIdx.x) + i / per_group * p.num_columns;
    const int tile = group * p.num_slices + i % per_group / kFragments;
    if (tile >= p.num_tiles) {
      continue;
    }
    const float4 residual = load_residual(p, tile, i % kFragments);
    float4 values[kDecodeWarps];
#pragma unroll
    for (int slice = 0; slice < kDecodeWarps; ++slice) {
      values[slice] = slice < kMaxSlices && slice < p.num_slices
                          ? __ldcg(partial_of<Traits>(p, slice, tile, i % kFragments))
                          : float4{0, 0, 0, 0};
    }
    store_results(p, tile, i % kFragments, tree_sum(values), residual);
  }
}

}  // namespace lychee::linear::cuda
