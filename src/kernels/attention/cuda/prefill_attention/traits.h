#pragma once

#include "tensor/dtype.h"

namespace lychee::attention::cuda {

// Everything the compiler must know of prefill_attention_kernel.
template <DType kKvDType_, int kHeadDim_, bool kExact_>
struct PrefillTraits {
  static constexpr DType kKvDType = kKvDType_;
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr bool kIsFp8 = kKvDType == DType::kF8E4M3;

  static constexpr int kNumWarps = 8;
  static constexpr int kNumThreads = kNumWarps * 32;
  static constexpr int kQueryRows = kNumWarps * 16;  // tokens of one query head, 16 a warp
  static constexpr int kTileTokens = 64;             // of K and V in shared memory, a page
  static constexpr int kNumStages = 2;
  static constexpr int kRowBytes = kHeadDim * (kIsFp8 ? 1 : 2);
  static constexpr int kPlaneBytes = kTileTokens * kRowBytes;
  // Parts of 16 bits that queries and softmax weights are multiplied in; all of an f32 if exact.
  static constexpr int kParts = !kExact_ ? 1 : (kKvDType == DType::kBF16 ? 3 : 2);

  struct SharedStorage {
    alignas(128) unsigned char tiles[kNumStages][2][kPlaneBytes];  // K, V
  };
};

}  // namespace lychee::attention::cuda
