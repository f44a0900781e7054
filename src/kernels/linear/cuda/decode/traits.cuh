#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/launch.h"

namespace lychee::linear::cuda {

constexpr int kDecodeThreads = kDecodeWarps * kWarpSize;  // that stage and multiply
constexpr int kFragment = 128;                            // results of a matrix instruction

// Whether a block has one more warp to finish tiles: those that multiply then wait for nothing but
// each other. It leaves every thread 96 registers instead of 128. Plain weights fill those with
// loads; integers need more the more rows and offsets they have, and most where 16 share a scale.
template <typename Format, int kMaxRows>
constexpr bool finishes_apart() {
  if constexpr (Format::kIntegers) {
    return Format::kGroup > 16 && kMaxRows <= (Format::kHasMin ? 4 : 8);
  } else {
    return !Format::kRowMajor;
  }
}

// Everything that follows from format and number of rows, at most kMaxRows.
template <typename Format_, int kMaxRows_>
struct DecodeTraits {
  using Format = Format_;
  static constexpr int kMaxRows = kMaxRows_;
  static constexpr int kColumnTiles = (kMaxRows + 7) / 8;  // of eight activation rows
  static constexpr int kRunsPerTile = Format::kStepK / 32;
  static constexpr int kRunsPerBatch = Format::kBatch * kRunsPerTile;  // of one lane of the sum
  static constexpr int kTileResults = kFragment * kColumnTiles;
  static constexpr bool kFinishesApart = finishes_apart<Format, kMaxRows>();
  static constexpr int kBlockThreads = kDecodeThreads + (kFinishesApart ? kWarpSize : 0);
  static constexpr int kSumBytes = 2 * kDecodeWarps * kTileResults * int{sizeof(float)};
};

// Between the threads that stage and multiply.
__device__ inline void sync_multipliers() {
  asm volatile("bar.sync 1, %0;" ::"n"(kDecodeThreads) : "memory");
}

// What a block is to do.
template <typename Traits>
struct DecodeShare {
  int lanes;       // of the sum, in this block
  int first_lane;  // the first of them
  int runs;        // of 32 inputs, of this block's lanes

  __device__ explicit DecodeShare(const DecodeLaunch& p)
      : lanes(p.num_lanes),
        first_lane(static_cast<int>(blockIdx.y) * lanes),
        runs(p.num_batches * lanes * Traits::kRunsPerBatch) {}
  // The first input of run `run` of this block.
  __device__ int first_input(int run) const {
    const int in_batch = lanes * Traits::kRunsPerBatch;
    const int batch = run / in_batch;
    return 32 * (batch * kDecodeWarps * Traits::kRunsPerBatch + first_lane * Traits::kRunsPerBatch +
                 run % in_batch);
  }
};

// What a block has in shared memory of its share of the activations. Integers are two signed
// bytes, 256 high + low, times a scale for each 64 inputs.
template <typename Traits>
struct Staged {
  using Format = typename Traits::Format;
  static constexpr int kRunBytes = 64;  // of a row

  // bf16 [runs, num_rows, 32]; or bytes [runs / 2, num_rows, high and low, lane's 4, run's 2, 8],
  // in the format's order.
  std::byte* values;
  float* sums;    // of runs, for formats with an offset: [num_rows, runs]
  int2* offsets;  // of high and low bytes times -kZero: [num_rows, groups of a scale]
  float* scales;  // [num_rows, runs / 2]
  // Partial results f32 [2, warps, columns, 128]. Before that, f32 [num_rows, runs, 32] on their
  // way to `values` and the weight of their norm [runs, 32], where there are such.
  float* results;

  // Of a row: strides that leave four rows in different banks.
  static __host__ __device__ constexpr int sums_of(int runs) {
    if constexpr (Format::kIntegers) {
      return Format::kHasMin ? runs + 4 : 0;
    }
    return 0;
  }
  static __host__ __device__ constexpr int offsets_of(int runs) {
    if constexpr (Format::kIntegers) {
      return Format::kZero == 0 ? 0 : runs * 32 / Format::kGroup + 2;
    }
    return 0;
  }
  static __host__ __device__ constexpr int scales_of(int runs) {
    return Format::kIntegers ? runs / 2 + 2 : 0;
  }
  // Of all rows, rounded up to what results are aligned to.
  static __host__ __device__ constexpr int all_scales(int runs, int num_rows) {
    return (num_rows * scales_of(runs) + 3) / 4 * 4;
  }
  // Without the results.
  static __host__ __device__ int bytes(int runs, int num_rows) {
    return num_rows * (runs * kRunBytes + sums_of(runs) * 4 + offsets_of(runs) * 8) +
           all_scales(runs, num_rows) * 4;
  }
  __device__ Staged(std::byte* shared, int runs, int num_rows)
      : values(shared),
        sums(reinterpret_cast<float*>(values + runs * num_rows * kRunBytes)),
        offsets(reinterpret_cast<int2*>(sums + num_rows * sums_of(runs))),
        scales(reinterpret_cast<float*>(offsets + num_rows * offsets_of(runs))),
        results(scales + all_scales(runs, num_rows)) {}
};

// float_rows: of activations in f32 and norm weights.
template <typename Traits>
__host__ inline int decode_shared_bytes(int runs, int num_rows, int float_rows) {
  return Staged<Traits>::bytes(runs, num_rows) +
         std::max(runs * float_rows * 128, Traits::kSumBytes);
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
