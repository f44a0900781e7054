#pragma once

#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/linear/cuda/decode/launch.h"

namespace lychee::linear::cuda {

constexpr int kDecodeThreads = kDecodeWarps * kWarpSize;  // that stage and multiply
// Warps that finish tiles, in turn; and one that loads weights.
constexpr int kFinishers = 2;
constexpr int kDecodeBlockThreads = kDecodeThreads + (kFinishers + 1) * kWarpSize;
constexpr int kFragment = 128;  // results of a matrix instruction

// How the copy engine finds the weights of a launch: of plain formats by maps, of packed ones by
// their addresses.
struct RowMaps {
  CUtensorMap of[kMaxTargets];
};
struct NoMaps {};

// Everything that follows from format and number of rows, at most kMaxRows.
template <typename Format_, int kMaxRows_>
struct DecodeTraits {
  using Format = Format_;
  using Maps = std::conditional_t<Format::kRowMajor, RowMaps, NoMaps>;
  static constexpr int kMaxRows = kMaxRows_;
  static constexpr int kColumnTiles = (kMaxRows + 7) / 8;  // of eight activation rows
  static constexpr int kRunsPerTile = Format::kStepK / 32;
  static constexpr int kRunsPerBatch = Format::kBatch * kRunsPerTile;  // of one lane of the sum
  static constexpr int kTileResults = kFragment * kColumnTiles;
  static constexpr int kSumBytes = kFinishers * kDecodeWarps * kTileResults * int{sizeof(float)};
};

// Between the threads that stage and multiply.
__device__ inline void sync_multipliers() {
  asm volatile("bar.sync 1, %0;" ::"n"(kDecodeThreads) : "memory");
}

// All of a block's dynamic shared memory.
[[nodiscard]] __device__ inline std::byte* block_memory() {
  extern __shared__ __align__(16) std::byte shared[];
  return shared;
}

// A place in it. It stays in a register: the compiler would else work it out anew at each use.
class SharedPlace {
 public:
  SharedPlace() = default;
  __device__ explicit SharedPlace(const void* address)
      : offset_(kept_address(shared_address(address) - shared_address(block_memory()))) {}

  // `bytes` further on, and what lies there.
  [[nodiscard]] __device__ const std::byte* address(int bytes) const {
    return block_memory() + offset_ + bytes;
  }
  template <typename T>
  [[nodiscard]] __device__ T take(int bytes) const {
    return *reinterpret_cast<const T*>(address(bytes));
  }

 private:
  uint32_t offset_;
};

// Waits for the copies that this warp has begun, and says so.
__device__ inline void fetch_all(uint64_t& fetched) {
  commit_copies();
  wait_for_copies<0>();
  arrive_as_warp(fetched);
}

// What a block is to do.
template <typename Traits>
struct DecodeShare {
  int lanes;       // of the sum, in this block: a power of two
  int first_lane;  // the first of them
  int runs;        // of 32 inputs, of this block's lanes

  __device__ explicit DecodeShare(const DecodeLaunch& p)
      : lanes(p.num_lanes),
        first_lane(static_cast<int>(blockIdx.y) * lanes),
        runs(p.num_batches * lanes * Traits::kRunsPerBatch) {}
  // The first input of run `run` of this block.
  __device__ int first_input(int run) const {
    if (lanes == kDecodeWarps) {
      return 32 * run;
    }
    const int in_batch = lanes * Traits::kRunsPerBatch;
    const int batch = run >> (__ffs(in_batch) - 1);
    return 32 * (batch * kDecodeWarps * Traits::kRunsPerBatch + first_lane * Traits::kRunsPerBatch +
                 (run & (in_batch - 1)));
  }
};

// Inputs from a thread's quarter of a run to its next.
[[nodiscard]] __device__ inline int input_step(int num_slices) {
  return num_slices * kDecodeThreads / 4 * 32;
}

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
  int* offsets;   // sums times -kZero: [num_rows, groups of a scale]
  float* scales;  // [num_rows, runs / 2]
  // Partial results f32 [kFinishers, warps, columns, 128]. Before that, f32 [num_rows, runs, 32] on
  // their way to `values` and the weight of their norm [runs, 32], where there are such.
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
      return Format::kZero == 0 ? 0 : runs * 32 / Format::kGroup + 4;
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
    return num_rows * (runs * kRunBytes + sums_of(runs) * 4 + offsets_of(runs) * 4) +
           all_scales(runs, num_rows) * 4;
  }
  __device__ Staged(std::byte* shared, int runs, int num_rows)
      : values(shared),
        sums(reinterpret_cast<float*>(values + runs * num_rows * kRunBytes)),
        offsets(reinterpret_cast<int*>(sums + num_rows * sums_of(runs))),
        scales(reinterpret_cast<float*>(offsets + num_rows * offsets_of(runs))),
        results(scales + all_scales(runs, num_rows)) {}
};

// The weight that a tile belongs to.
__device__ inline int target_index(const DecodeLaunch& p, int tile) {
  int t = 0;
#pragma unroll
  for (int i = 1; i < kMaxTargets; ++i) {
    t = i < p.num_targets && !p.swiglu && tile >= p.targets[i].first_tile ? i : t;
  }
  return t;
}
__device__ inline const DecodeTarget& target_of(const DecodeLaunch& p, int tile) {
  return p.targets[target_index(p, tile)];
}

}  // namespace lychee::linear::cuda
