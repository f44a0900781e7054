#pragma once

#include <cstdint>

#include "kernels/attention/cuda/hybrid_decode/job.h"
#include "tensor/dtype.h"

namespace lychee::attention::cuda {

// Query heads that one matrix instruction takes side by side; groups are padded to it.
constexpr int kHeadsPerTile = 8;

// What a loader knows of the tokens that it is going to copy, a batch each.
template <int kNumTokens>
struct LoaderQueue {
  int32_t positions[kNumTokens];  // of the batch after the next
  int32_t pages[kNumTokens];      // of the next
  uint32_t offsets[kNumTokens];   // of the present one's rows in K and V, in chunks of 16 bytes
};

// Everything the compiler must know of hybrid_decode_kernel: element type, tile shape, pipeline.
template <DType kKvDType_, int kHeadDim_, int kHeadTiles_>
struct HybridDecodeTraits {
  static constexpr DType kKvDType = kKvDType_;
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kHeadTiles = kHeadTiles_;
  static constexpr bool kIsFp8 = kKvDType == DType::kF8E4M3;

  // Warps of a block: those that compute come first, then those that load, then the dispatcher. The
  // latter two make up a warpgroup, since registers are dealt out by that.
  static constexpr int kNumComputers = 8;
  static constexpr int kNumLoaders = 3;
  static constexpr int kNumThreads = (kNumComputers + kNumLoaders + 1) * 32;
  static constexpr int kComputeThreads = kNumComputers * 32;

  static constexpr int kTileTokens = 16;  // rows of a matrix instruction
  static constexpr int kRowBytes = kHeadDim * (kIsFp8 ? 1 : 2);
  static constexpr int kPlaneBytes = kTileTokens * kRowBytes;
  // Queries of so many heads take memory from the ring.
  static constexpr bool kIsLarge = kHeadTiles * kHeadDim > 128;
  // One ring of tiles for the whole block: 100 KB cover the latency of a Hopper's memory, the rest
  // covers the tiles that are being computed and the pauses at the end of a range.
  static constexpr int kRingBytes = (kIsLarge ? 160 : 176) * 1024;
  static constexpr int kNumStages = kRingBytes / (2 * kPlaneBytes);
  // Tiles that a loader copies between two waits for what it has asked for. Each two more cost half
  // a microsecond at the start; but no more than two batches of each loader are under way.
  static constexpr int kBatchTiles = kPlaneBytes >= 4096 ? 2 : kPlaneBytes >= 2048 ? 4 : 8;

  // Jobs that are handed out ahead, with their queries.
  static constexpr int kQueryFloats = kHeadTiles * kHeadsPerTile * kHeadDim;
  static constexpr int kNumJobs = kIsLarge ? 2 : 3;

  // Of each thread; an equal share would be 168, too few for those that compute. With e4m3 loaders
  // are the bound if they have fewer.
  static constexpr int kComputerRegisters = kHeadTiles == 2 ? 216 : kIsFp8 ? 184 : 200;
  static constexpr int kLoaderRegisters = kHeadTiles == 2 ? 72 : kIsFp8 ? 136 : 104;

  // Queries and softmax weights are fed to the tensor cores as sums of 16-bit parts, which costs
  // instructions that a kernel bound by memory has to spare and keeps the accuracy of f32.
  static constexpr int kParts = kKvDType == DType::kBF16 ? 3 : 2;

  // Rows of the merge are padded by 16 bytes, so that lanes of different heads hit other banks.
  static constexpr int kMergeStride = kHeadDim + 4;

  struct SharedStorage {
    alignas(128) unsigned char ring[kNumStages][2][kPlaneBytes];  // K, V
    alignas(16) float query[kNumJobs][kQueryFloats];
    alignas(16) float acc[kNumComputers][kHeadsPerTile][kMergeStride];
    float max[kNumComputers][kHeadsPerTile];
    float sum[kNumComputers][kHeadsPerTile];
    LoaderQueue<kBatchTiles * kTileTokens> queues[kNumLoaders];
    Job jobs[kNumJobs];
    uint64_t filled[kNumStages];   // the tile is there
    uint64_t emptied[kNumStages];  // its warp has read it
    uint64_t given[kNumJobs];      // the job and its queries are there
    uint64_t done[kNumJobs];       // all warps have done with them, and with their writes
    uint64_t merged;               // all warps have read `acc`, `max` and `sum`
  };

  static_assert(kHeadDim % 64 == 0);
  static_assert(kHeadDim * kHeadsPerTile % (4 * 32) == 0);
  // Phases are known by their parity alone, so nobody may ask for one while the one before it has
  // not ended: for tile n, be it to read or to fill, while tile n - kNumStages is missing or being
  // read. It cannot come to that: of a warp's last kNumLoaders tiles each is another loader's, so
  // whatever one loader or one warp is behind with holds up the asker at a tile nearer than that
  // one, unless both are the same loader's.
  static_assert(kNumComputers % kNumLoaders != 0 &&
                (kNumStages >= kNumLoaders * kNumComputers ||
                 (kNumStages % kNumLoaders != 0 &&
                  kNumStages > (kNumLoaders - 1) * kNumComputers)));
  static_assert(kBatchTiles % 2 == 0 && kBatchTiles <= 32);
  static_assert(kNumStages <= kNumThreads);
  static_assert(sizeof(SharedStorage) <= 227 * 1024);
};

}  // namespace lychee::attention::cuda
