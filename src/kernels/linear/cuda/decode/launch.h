#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/linear/device_weight.h"

namespace lychee::linear::cuda {

constexpr int kDecodeWarps = 16;
constexpr int kMaxTargets = 4;
constexpr int kMaxSlices = kDecodeWarps;
constexpr int kMaxStages = 8;
constexpr int kRingAlignment = 1024;  // for the swizzle of plain rows
// Of up to so many rows each block makes the RMSNorm itself. That reads f32 instead of bf16 and
// takes all blocks two more barriers; from more rows on it is dearer than a launch of its own.
constexpr int kMaxFusedNormRows = 2;
constexpr int64_t kCounterBytes = 4096;  // one int a column of blocks, at the workspace's start

// Output rows in tiles of two bands. Where outputs are products of gate and up, a tile is the same
// band of either.
struct DecodeTarget {
  const std::byte* weight;
  const float* bias;  // [out_features] or null
  float* y;           // [num_rows, out_features], row stride y_stride
  int64_t y_stride;
  int out_features;
  int num_bands;
  int first_tile;
};

// How the inputs are shared out. The sum over the inputs is cut into kDecodeWarps lanes, whatever
// the number of rows; with several slices a block has so much fewer of the lanes of so many more
// tiles, which bounds the activations it must read.
struct DecodeLaunch {
  // What the first load needs comes first, in few lines of the constant cache, which is cold then.
  // By launch_decode(), since a division on the device would stand before that load: stages of the
  // ring and their bytes, lanes of a block, tiles of the format in a row, and batches of a lane to
  // a tile.
  int64_t band_bytes;
  int num_stages;
  int stage_bytes;
  int num_lanes;
  int num_steps;
  int num_batches;
  int num_slices;   // power of two
  int num_columns;  // of blocks; grid: (num_columns, num_slices)
  int num_tiles;
  int num_rows;
  bool swiglu;
  bool accumulate;
  int num_targets;
  DecodeTarget targets[kMaxTargets];

  int in_features;
  const float* x;         // [num_rows, in_features], row stride x_stride; or null
  const bf16* rounded_x;  // the same, else
  int64_t x_stride;
  // RMSNorm of x, in one slice and of up to kMaxFusedNormRows rows. [in_features], or null; it and
  // x are aligned to 16 bytes then, in_features is a multiple of 8 and x_stride of 4.
  const float* norm_weight;
  float norm_eps;
  int shared_bytes;      // that a block can ask for
  bf16* rounded_swiglu;  // [num_rows, out_features], or null: SwiGLU to the first target's y
  int* counters;         // [num_columns], zero before and after
  float* partials;       // [num_slices, num_tiles, 16 · columns of the kernel]
};

// Shared memory of a block.
struct DecodeMemory {
  int64_t staged;  // for its share of the activations and for results
  int64_t ring;    // for weights on their way, to cover the latency of a Hopper's memory
};

// Defined in launch.cuh, compiled once per instantiations/*.cu. float_rows: of activations in f32,
// and one for norm weights.
template <typename Format>
DecodeMemory decode_memory(int in_features, int num_rows, int float_rows, int num_slices);

// Defined in launch.cuh, compiled once per instantiations/*.cu. Enqueues the kernel for up to 16
// rows.
template <typename Format>
void launch_decode(const DecodeLaunch& launch, cudaStream_t stream);

}  // namespace lychee::linear::cuda
