#pragma once

namespace lychee::attention::cuda {

// Everything the compiler must know of the tensor-core kernels of blended attention. kDim: head_dim
// padded with zeros; kParts: parts of bf16 that every operand is multiplied in.
template <int kDim_, int kParts_>
struct BlendedTraits {
  static constexpr int kDim = kDim_;
  static constexpr int kParts = kParts_;

  static constexpr int kQueries = 128;  // of a block
  // Of 16 queries, of a warp. Two halve what a product reads of shared memory.
  static constexpr int kRowTiles = kParts == 1 ? 2 : 1;
  static constexpr int kMinBlocks = kParts == 1 ? 2 : 1;  // of a multiprocessor
  static constexpr int kTileTokens = 32;                  // in shared memory at a time
  static constexpr int kTokenTiles = kTileTokens / 8;
  static constexpr int kNumStages = 3;

  static constexpr int kChunksPerRow = kDim / 8;
  static constexpr int kRowBytes = kDim * 2;
  static constexpr int kQueryPartBytes = kQueries * kRowBytes;
  static constexpr int kTilePartBytes = kTileTokens * kRowBytes;

  // Gradients of target tokens: 16 tokens a warp; queries take the place of tokens.
  static constexpr int kTargetWarps = 4;
  static constexpr int kTargetThreads = kTargetWarps * 32;
  static constexpr int kTargetTokens = kTargetWarps * 16;
  static constexpr int kTargetPartBytes = kTargetTokens * kRowBytes;
};

}  // namespace lychee::attention::cuda
