#pragma once

#include "kernels/attention/cuda/chunk_slot.cuh"
#include "kernels/attention/cuda/hybrid_decode/split.cuh"
#include "kernels/attention/cuda/hybrid_decode/traits.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

// Two tiles on their way into the ring, one to each half of a loader's lanes; lane l stands for
// token l % 16 of its half's tile.
struct TilePair {
  int row;
  int kv_head;
  int count;  // tokens of the tile that exist; negative: there is no tile
  int token;  // position of the lane's token
  int page;
  bool has_newest;  // the tile holds the row's current token
};

// One of the warps that fill the ring. The block's tiles, range after range, are numbered; loader i
// fills every kNumLoaders-th from i on. Token ids are asked for four tiles before the pages and
// those four before the rows, so that neither latency is waited for but at the start.
template <typename Traits>
class TileLoader {
 public:
  __device__ TileLoader(const HybridDecodeParams& params, int max_parts, int loader,
                        typename Traits::SharedStorage& smem)
      : params_(params), ranges_(params, max_parts), smem_(smem), unit_(loader), stage_(loader) {
    constexpr int64_t kChunkElements = Traits::kIsFp8 ? 16 : 8;
    page_chunks_ = static_cast<uint32_t>(params.kv.page_stride / kChunkElements);
    head_chunks_ = static_cast<uint32_t>(params.kv.head_stride / kChunkElements);
    token_chunks_ = static_cast<uint32_t>(params.kv.token_stride / kChunkElements);
  }

  __device__ void run() {
    TilePair with_ids[kAhead];
    TilePair with_pages[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      with_ids[i] = with_pages[i] = {.count = kNotYet};
    }
    while (true) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (!load(with_pages[i])) {
          commit_copies();
          wait_for_copies<0>();  // a thread does not end before its copies
          return;
        }
        with_pages[i] = with_ids[i];
        ask_for_pages(with_pages[i]);
        with_ids[i] = find_pair();
      }
    }
  }

 private:
  static constexpr int kAhead = 2;    // pairs
  static constexpr int kNotYet = -2;  // as a count: of no tile, before the first
  static constexpr int kNoMore = -1;  // the same behind the last
  static constexpr int kChunksPerRow = Traits::kRowBytes / 16;
  static constexpr int kRowsPerCopy = 32 / kChunksPerRow;

  [[nodiscard]] static __device__ int lane() {
    return static_cast<int>(threadIdx.x % 32);
  }

  // Moves on to this loader's next tile; false at the end.
  __device__ bool find_tile() {
    while (unit_ >= range_.end) {
      const int left = unit_ - range_.end;
      if (ended_ || !ranges_.next(range_)) {
        ended_ = true;
        return false;
      }
      unit_ = range_.begin + left;
    }
    return true;
  }

  // Finds the next two tiles and asks for their token ids.
  __device__ TilePair find_pair() {
    TilePair pair{.count = kNoMore};
    int set = HybridDecodeParams::kDense;
#pragma unroll 1
    for (int half = 0; half < 2; ++half) {
      if (!find_tile()) {
        break;
      }
      const int first = unit_ * kUnitTokens;
      if (lane() / 16 == half) {
        pair.row = range_.row;
        pair.kv_head = range_.kv_head;
        pair.count = min(kUnitTokens, range_.len - first);
        pair.token = min(first + lane() % 16, range_.len - 1);
        pair.has_newest =
            range_.set == HybridDecodeParams::kDense && first + kUnitTokens >= range_.len;
        set = range_.set;
      }
      unit_ += Traits::kNumLoaders;
    }
    if (set != HybridDecodeParams::kDense && pair.count > 0) {
      pair.token = __ldcg(params_.token_ids + set * params_.token_ids_stride + pair.token);
    }
    return pair;
  }

  __device__ void ask_for_pages(TilePair& pair) {
    if (pair.count > 0) {
      pair.page = __ldg(params_.page_tables + pair.row * params_.page_table_stride +
                        pair.token / kPageSize);
    }
  }

  // Copies both tiles to their stages as these become free; false where the tiles end.
  __device__ bool load(const TilePair& pair) {
    if (__any_sync(kAllLanes, pair.has_newest)) {
      wait_for_predecessors();  // the kernel before this one may be writing that token's row
    }
    const uint32_t offset = static_cast<uint32_t>(pair.page) * page_chunks_ +
                            static_cast<uint32_t>(pair.kv_head) * head_chunks_ +
                            static_cast<uint32_t>(pair.token % kPageSize) * token_chunks_;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int count = __shfl_sync(kAllLanes, pair.count, half * 16);
      if (count < 0) {
        return count == kNotYet;
      }
      wait_for_phase(smem_.emptied[stage_], phase_ ^ 1);
      copy(offset, half, count);
      arrive_behind_copies(smem_.filled[stage_]);
      stage_ += Traits::kNumLoaders;
      if (stage_ >= Traits::kNumStages) {
        stage_ -= Traits::kNumStages;
        phase_ ^= 1;
      }
    }
    return true;
  }

  __device__ void copy(uint32_t offset, int half, int count) {
    const uint32_t k_tile = shared_address(&smem_.ring[stage_][0][0]);
    const int chunk = lane() % kChunksPerRow;
    const auto* k = static_cast<const char*>(params_.kv.k) + chunk * 16;
    const auto* v = static_cast<const char*>(params_.kv.v) + chunk * 16;
#pragma unroll
    for (int i = 0; i < Traits::kTileTokens / kRowsPerCopy; ++i) {
      const int row = i * kRowsPerCopy + lane() / kChunksPerRow;
      const int64_t from = int64_t{__shfl_sync(kAllLanes, offset, half * 16 + row)} * 16;
      const uint32_t to =
          k_tile + 16 * static_cast<uint32_t>(chunk_slot<kChunksPerRow>(row, chunk));
      copy_async_16(to, k + from, row < count);
      copy_async_16(to + Traits::kPlaneBytes, v + from, row < count);
    }
  }

  const HybridDecodeParams& params_;
  RangeIterator ranges_;
  typename Traits::SharedStorage& smem_;
  Range range_{};
  bool ended_ = false;
  int unit_;  // of the range; that of this loader's next tile
  int stage_;
  uint32_t phase_ = 0;
  uint32_t page_chunks_, head_chunks_, token_chunks_;  // strides in chunks of 16 bytes
};

}  // namespace lychee::attention::cuda
