#pragma once

#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/launch.h"

namespace lychee::linear::cuda {

constexpr int kDecodeThreads = kDecodeWarps * kWarpSize;
constexpr int kFragment = 128;  // results of a matrix instruction

// Everything that follows from format and number of rows.
template <typename Format_, int kColumnTiles_>
struct DecodeTraits {
  using Format = Format_;
  static constexpr int kColumnTiles = kColumnTiles_;  // of eight activation rows
  static constexpr int kRunsPerTile = Format::kStepK / 32;
  static constexpr int kRunsPerBatch = Format::kBatch * kRunsPerTile;  // of one lane of the sum
  static constexpr int kTileResults = kFragment * kColumnTiles;
  static constexpr int kSumBytes = 2 * kDecodeWarps * kTileResults * int{sizeof(float)};
};

// What a block is to do.
template <typename Traits>
struct DecodeShare {
  int lanes;       // of the sum, in this block
  int first_lane;  // the first of them
  int batches;     // of a lane, to a tile
  int runs;        // of 32 inputs, of this block's lanes
  int num_steps;   // tiles of the format in a row

  __device__ explicit DecodeShare(const DecodeLaunch& p) {
    lanes = kDecodeWarps / p.num_slices;
    first_lane = static_cast<int>(blockIdx.y) * lanes;
    num_steps = (p.in_features + Traits::Format::kStepK - 1) / Traits::Format::kStepK;
    constexpr int kBatchSteps = kDecodeWarps * Traits::Format::kBatch;
    batches = (num_steps + kBatchSteps - 1) / kBatchSteps;
    runs = batches * lanes * Traits::kRunsPerBatch;
  }
  // The first input of run `run` of this block.
  __device__ int first_input(int run) const {
    const int in_batch = lanes * Traits::kRunsPerBatch;
    const int batch = run / in_batch;
    return 32 * (batch * kDecodeWarps * Traits::kRunsPerBatch + first_lane * Traits::kRunsPerBatch +
                 run % in_batch);
  }
};

// Shared memory: activations bf16 [runs, num_rows, 32]; their sums f32 [runs, columns] for formats
// that have an offset; then f32 [num_rows, runs, 32] on their way to becoming bf16 and the weight
// of their norm f32 [runs, 32], where there are such, and in the same place afterwards partial
// results f32 [2, warps, columns, 128].
template <typename Traits>
__host__ __device__ inline int decode_inputs_bytes(int runs, int num_rows) {
  return runs * num_rows * 64;
}
template <typename Traits>
__host__ __device__ inline int decode_sums_bytes(int runs) {
  return Traits::Format::kHasMin ? runs * 8 * Traits::kColumnTiles * 4 : 0;
}
// float_rows: of activations in f32 and norm weights.
template <typename Traits>
__host__ __device__ inline int decode_shared_bytes(int runs, int num_rows, int float_rows) {
  const int floats = runs * float_rows * 128;
  return decode_inputs_bytes<Traits>(runs, num_rows) + decode_sums_bytes<Traits>(runs) +
         (floats > Traits::kSumBytes ? floats : Traits::kSumBytes);
}

// The weight that a tile belongs to.
__device__ inline const DecodeTarget& target_of(const DecodeLaunch& p, int tile) {
  int t = 0;
#pragma unroll
  for (int i = 1; i < kMaxTargets; ++i) {
    t = i < p.num_targets && !p.swiglu && tile >= p.targets[i].first_tile ? i : t;
  }
  return p.targets[t];
}

}  // namespace lychee::linear::cuda
