#pragma once

#include "tensor/dtype.h"

namespace lychee::attention::cuda {

// Query heads that one matrix instruction takes side by side; groups are padded to it.
constexpr int kHeadsPerTile = 8;

// Everything the compiler must know of hybrid_decode_kernel: element type, tile shape, pipeline.
template <DType kKvDType_, int kHeadDim_, int kHeadTiles_>
struct HybridDecodeTraits {
  static constexpr DType kKvDType = kKvDType_;
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kHeadTiles = kHeadTiles_;
  static constexpr bool kIsFp8 = kKvDType == DType::kF8E4M3;

  // 8 warps of one block to a multiprocessor: each owns a ring of tiles and waits for nobody else,
  // so that a block keeps 128 to 192 KB of loads in flight; 100 KB cover the latency of a Hopper's
  // memory, the rest covers the pauses at the end of a range.
  static constexpr int kNumWarps = 8;
  static constexpr int kNumThreads = kNumWarps * 32;
  static constexpr int kTileTokens = 16;  // rows of a matrix instruction
  static constexpr int kRowBytes = kHeadDim * (kIsFp8 ? 1 : 2);
  static constexpr int kPlaneBytes = kTileTokens * kRowBytes;
  static constexpr int kRingBytes = 24 * 1024;
  static constexpr int kNumStages = kRingBytes / (2 * kPlaneBytes);

  // Queries and softmax weights are fed to the tensor cores as sums of 16-bit parts, which costs
  // instructions that a kernel bound by memory has to spare and keeps the accuracy of f32.
  static constexpr int kParts = kKvDType == DType::kBF16 ? 3 : 2;

  // Rows of the merge are padded by 16 bytes, so that lanes of different heads hit other banks.
  static constexpr int kMergeStride = kHeadDim + 4;

  struct SharedStorage {
    alignas(128) unsigned char ring[kNumWarps][kNumStages][2][kPlaneBytes];  // K, V
    alignas(16) float acc[kNumWarps][kHeadsPerTile][kMergeStride];
    float max[kNumWarps][kHeadsPerTile];
    float sum[kNumWarps][kHeadsPerTile];
    int is_last;
  };

  static_assert(kHeadDim % 64 == 0);
  static_assert(kHeadDim * kHeadsPerTile % (4 * 32) == 0);
  static_assert(sizeof(SharedStorage) <= 227 * 1024);
};

}  // namespace lychee::attention::cuda
