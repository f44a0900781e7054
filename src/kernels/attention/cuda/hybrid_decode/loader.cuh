#pragma once

#include "base/math.h"
#include "kernels/attention/cuda/chunk_slot.cuh"
#include "kernels/attention/cuda/hybrid_decode/newest_token.cuh"
#include "kernels/attention/cuda/hybrid_decode/split.cuh"
#include "kernels/attention/cuda/hybrid_decode/traits.h"
#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

// One of the warps that fill the ring. The block's tiles, range after range, are numbered; loader i
// fills every kNumLoaders-th from i on, a batch at a time. While it copies one, the pages of the
// next and the token ids of the one after that are on their way to shared memory. Were they on
// their way to registers, each batch would wait for them in the midst of its copies: the hardware
// has few counters of loads under way, and whoever waits for one of them waits for the latest load.
template <typename Traits>
class TileLoader {
 public:
  __device__ TileLoader(const HybridDecodeParams& params, int max_parts, int loader,
                        typename Traits::SharedStorage& smem)
      : params_(params),
        ranges_(params, max_parts),
        smem_(smem),
        queue_(smem.queues[loader]),
        unit_(loader),
        stage_(loader) {
    constexpr int64_t kChunkElements = Traits::kIsFp8 ? 16 : 8;
    page_chunks_ = static_cast<uint32_t>(params.kv.page_stride / kChunkElements);
    head_chunks_ = static_cast<uint32_t>(params.kv.head_stride / kChunkElements);
    token_chunks_ = static_cast<uint32_t>(params.kv.token_stride / kChunkElements);
  }

  __device__ void run() {
    Batch with_ids;
    Batch with_pages;
    int tokens[kPairs];  // positions of this lane's, with_pages'
    bool has_more = true;
    while (has_more) {
      wait_for_copies<1>();  // for what was asked for before the last batch was copied
      Batch ready = with_pages;
      store_offsets(ready, tokens);
      with_pages = with_ids;
      ask_for_pages(with_pages, tokens);
      with_ids = find_batch();
      commit_copies();
      has_more = copy(ready);
      commit_copies();
    }
    wait_for_predecessors();
    allow_dependents();
    wait_for_copies<0>();  // a thread does not end before its copies
    append_newest();
  }

 private:
  static constexpr int kPairs = Traits::kBatchTiles / 2;  // of tiles: lane l has token l % 16 of
                                                          // each pair's tile l / 16
  static constexpr int kNotYet = -2;  // as a count: of no tile, before the first
  static constexpr int kNoMore = -1;  // the same behind the last
  static constexpr int kChunksPerRow = Traits::kRowBytes / 16;
  static constexpr int kRowsPerCopy = 32 / kChunksPerRow;

  struct Batch {          // lane i: its tile i
    int count = kNotYet;  // tokens that exist; negative: there is no tile
    int row;
    int kv_head;
    int newest;            // position of the row's newest token
    uint32_t newest_rows;  // bits of the tile's rows that hold it: one, or none
  };

  [[nodiscard]] static __device__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  // The lane that knows the tile of which this lane has a token.
  [[nodiscard]] static __device__ int tile_lane(int pair) { return 2 * pair + lane() / 16; }

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

  // Finds the next tiles and asks for the positions of their tokens.
  __device__ Batch find_batch() {
    Batch batch{.count = kNoMore};
    int set = HybridDecodeParams::kDense;
    int first = 0;
    int last = 0;
    for (int found = 0; found < Traits::kBatchTiles && find_tile();) {
      const int unit = unit_ + (lane() - found) * Traits::kNumLoaders;
      if (lane() >= found && unit < range_.end) {
        set = range_.set;
        first = unit * kUnitTokens;
        last = range_.len - 1;
        batch = {.count = min(kUnitTokens, range_.len - first),
                 .row = range_.row,
                 .kv_head = range_.kv_head,
                 .newest = range_.newest};
      }
      const int taken =
          min(ceil_div(range_.end - unit_, Traits::kNumLoaders), Traits::kBatchTiles - found);
      found += taken;
      unit_ += taken * Traits::kNumLoaders;
    }
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      const int from = tile_lane(pair);
      const int begin = __shfl_sync(kAllLanes, first, from);
      const int end = __shfl_sync(kAllLanes, last, from);
      const int own_set = __shfl_sync(kAllLanes, set, from);
      const int index = min(begin + lane() % 16, end);
      int32_t& position = queue_.positions[pair * 32 + lane()];
      if (own_set == HybridDecodeParams::kDense || end < 0) {
        position = index;
      } else {
        copy_async_4(shared_address(&position),
                     params_.token_ids + own_set * params_.token_ids_stride + index);
      }
    }
    return batch;
  }

  // Takes the positions that have come and asks for the tokens' pages.
  __device__ void ask_for_pages(const Batch& batch, int (&tokens)[kPairs]) {
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      const int count = __shfl_sync(kAllLanes, batch.count, tile_lane(pair));
      const int row = __shfl_sync(kAllLanes, batch.row, tile_lane(pair));
      tokens[pair] = queue_.positions[pair * 32 + lane()];
      if (count > 0) {
        copy_async_4(
            shared_address(&queue_.pages[pair * 32 + lane()]),
            params_.page_tables + row * params_.page_table_stride + tokens[pair] / kPageSize);
      }
    }
  }

  // And finds the newest token among the batch's.
  __device__ void store_offsets(Batch& batch, const int (&tokens)[kPairs]) {
    batch.newest_rows = 0;
    __syncwarp();  // the last batch's have been read
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      const int kv_head = __shfl_sync(kAllLanes, batch.kv_head, tile_lane(pair));
      const int slot = pair * 32 + lane();
      queue_.offsets[slot] = static_cast<uint32_t>(queue_.pages[slot]) * page_chunks_ +
                             static_cast<uint32_t>(kv_head) * head_chunks_ +
                             static_cast<uint32_t>(tokens[pair] % kPageSize) * token_chunks_;
      const int newest = __shfl_sync(kAllLanes, batch.newest, tile_lane(pair));
      const int count = __shfl_sync(kAllLanes, batch.count, tile_lane(pair));
      const uint32_t found =
          __ballot_sync(kAllLanes, tokens[pair] == newest && lane() % 16 < count);
      if (lane() / 2 == pair) {
        batch.newest_rows = found >> (lane() % 2 * 16) & 0xffff;
      }
    }
    __syncwarp();
  }

  // Copies a batch's tiles to their stages as these become free; false where the tiles end. Nearly
  // all tiles are whole: what the others need is not looked at for those, since a loader has but
  // 700 cycles for a tile of e4m3 at the rate of memory.
  __device__ bool copy(const Batch& batch) {
    constexpr uint32_t kAll = (1U << Traits::kBatchTiles) - 1;
    const int num_tiles = __popc(__ballot_sync(kAllLanes, batch.count >= 0) & kAll);
    const uint32_t whole =
        __ballot_sync(kAllLanes, batch.count == kUnitTokens && batch.newest_rows == 0);
#pragma unroll 1
    for (int i = 0; i < num_tiles; ++i) {
      wait_for_phase(smem_.emptied[stage_], phase_ ^ 1);
      if ((whole >> i & 1) != 0) {
        copy_rows<true>(queue_.offsets + i * kUnitTokens, kUnitTokens, 0);
      } else {
        copy_special(batch, i);
      }
      arrive_behind_copies(smem_.filled[stage_]);
      stage_ += Traits::kNumLoaders;
      if (stage_ >= Traits::kNumStages) {
        stage_ -= Traits::kNumStages;
        phase_ ^= 1;
      }
    }
    // A vote, so that the compiler knows the answer, and with it stage_, to be the warp's.
    return num_tiles == Traits::kBatchTiles || __any_sync(kAllLanes, batch.count == kNotYet) != 0;
  }

  // A tile of fewer tokens, or with the row's newest one.
  __device__ void copy_special(const Batch& batch, int i) {
    const int count = __shfl_sync(kAllLanes, batch.count, i);
    const uint32_t newest_rows = __shfl_sync(kAllLanes, batch.newest_rows, i);
    if (newest_rows != 0) {
      wait_for_predecessors();  // the kernel before this one may be writing that token's row
    }
    const bool makes_row = newest_rows != 0 && params_.newest.k != nullptr;
    copy_rows<false>(queue_.offsets + i * kUnitTokens, count, makes_row ? newest_rows : 0);
    if (makes_row) {
      NewestToken<Traits>(params_, __shfl_sync(kAllLanes, batch.row, i),
                          __shfl_sync(kAllLanes, batch.kv_head, i))
          .store_in_tile(smem_.ring[stage_][0], smem_.ring[stage_][1],
                         __ffs(static_cast<int>(newest_rows)) - 1);
      __threadfence_block();  // before the arrival, which copies make
    }
  }

  // The first `count` rows of a tile, zeros for others, and none of those that are set in
  // `left_out`. kWhole: the caller wants all 16 and leaves out none.
  template <bool kWhole>
  __device__ void copy_rows(const uint32_t* offsets, int count, uint32_t left_out) {
    constexpr int kCopies = Traits::kTileTokens / kRowsPerCopy;
    const int first_row = lane() / kChunksPerRow;
    const int chunk = lane() % kChunksPerRow;
    const auto* k = static_cast<const char*>(params_.kv.k) + chunk * 16;
    const auto* v = static_cast<const char*>(params_.kv.v) + chunk * 16;
    const uint32_t first = shared_address(&smem_.ring[stage_][0][0]) +
                           16 * static_cast<uint32_t>(chunk_slot<kChunksPerRow>(first_row, chunk));
    uint32_t own[kCopies];
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      own[i] = offsets[i * kRowsPerCopy + first_row];
    }
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int row = i * kRowsPerCopy + first_row;
      if (!kWhole && (left_out >> row & 1) != 0) {
        continue;
      }
      const bool exists = kWhole || row < count;
      const int64_t from = int64_t{own[i]} * 16;
      const uint32_t to = later_row<kChunksPerRow>(first, i * kRowsPerCopy);
      copy_async_16_once(to, k + from, exists);
      copy_async_16_once(to + Traits::kPlaneBytes, v + from, exists);
    }
  }

  // The rows' newest tokens are shared out over the loaders of all blocks.
  __device__ void append_newest() {
    if (params_.newest.k == nullptr) {
      return;
    }
    const int loader = static_cast<int>(threadIdx.x / 32) - Traits::kNumComputers;
    const int first = static_cast<int>(blockIdx.x + gridDim.x * static_cast<uint32_t>(loader));
    const int step = static_cast<int>(gridDim.x) * Traits::kNumLoaders;
    for (int item = first; item < params_.batch * params_.num_kv_heads; item += step) {
      NewestToken<Traits>(params_, item / params_.num_kv_heads, item % params_.num_kv_heads)
          .append();
    }
  }

  const HybridDecodeParams& params_;
  RangeIterator ranges_;
  typename Traits::SharedStorage& smem_;
  LoaderQueue<Traits::kBatchTiles * Traits::kTileTokens>& queue_;
  Range range_{};
  bool ended_ = false;
  int unit_;  // of the range; that of this loader's next tile
  int stage_;
  uint32_t phase_ = 0;
  uint32_t page_chunks_, head_chunks_, token_chunks_;  // strides in chunks of 16 bytes
};

}  // namespace lychee::attention::cuda
