#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/cuda/warp_copy.cuh"
#include "kernels/linear/cuda/decode/formats.cuh"
#include "kernels/linear/cuda/decode/launch.h"
#include "kernels/linear/cuda/decode/traits.cuh"

// How weights come to a block: one warp keeps a ring of stages in shared memory full, whatever the
// others are doing or waiting for. So weights are on their way while the block waits for its
// predecessor and brings its activations.
namespace lychee::linear::cuda {

// A stage holds what the block's warps multiply at a time, of both bands of num_slices tiles: a
// piece of `lanes` · kBatch tiles of the format each. Packed formats lie as in memory, and behind a
// band's last piece its header. Eight rows of plain ones lie side by side, in blocks of kLine bytes
// each, whose chunks of 16 are swizzled as the copy engine does it (CUtensorMap's
// SWIZZLE_128B): chunk c of row r at place c ^ r.
template <typename Format>
struct StageShape {
  static constexpr int kLine = 128;
  static constexpr int kLanePiece =
      Format::kBatch * Format::kTileBytes * (Format::kRowMajor ? static_cast<int>(kBandRows) : 1);
  static_assert(!Format::kRowMajor || Format::kBatch * Format::kTileBytes == kLine);

  int piece_bytes;  // without the header
  int band_bytes;
  int bytes;

  // lanes: of a block, kDecodeWarps / num_slices.
  __host__ __device__ StageShape(int lanes, int num_slices)
      : piece_bytes(lanes * kLanePiece),
        band_bytes(piece_bytes + Format::kHeaderBytes),
        bytes(2 * num_slices * band_bytes) {}
};

// The row of its band that lane group `group` (lanes 4 group …) multiplies. Of plain formats rows 0
// and 4, 1 and 5, … go to neighbours, whose chunks the swizzle leaves in different banks.
template <typename Format>
[[nodiscard]] __device__ int row_of_group(int group) {
  return Format::kRowMajor ? group % 2 * 4 + group / 2 : group;
}

// Where a lane finds its part of a batch of tiles, in one band of the first stage.
template <typename Format>
class BatchPlace {
 public:
  __device__ BatchPlace(const std::byte* piece, int lane) {
    if constexpr (Format::kRowMajor) {
      const int row = row_of_group<Format>(lane / 4);
      const int place = row * StageShape<Format>::kLine + ((lane % 4 ^ row) * 16);
      first_ = SharedPlace(piece + place);
      second_ = SharedPlace(piece + (place ^ 64));
    } else {
      first_ = SharedPlace(piece);
    }
  }

  // stage_offset: of a stage, in bytes from the first. `count` of the tiles exist.
  __device__ void take(typename Format::Tile (&tiles)[Format::kBatch], int stage_offset, int count,
                       int lane) const {
    if constexpr (Format::kRowMajor) {
      tiles[0] = {first_.template take<uint4>(stage_offset)};
      tiles[1] = {second_.template take<uint4>(stage_offset)};
    } else {
#pragma unroll
      for (int i = 0; i < Format::kBatch; ++i) {
        // Beyond the row's end, where the activations are zero, the last tile again.
        const int place = i < count ? i * Format::kTileBytes : 0;
        tiles[i] = Format::load(first_.address(stage_offset + place), lane);
      }
    }
  }

 private:
  SharedPlace first_;
  SharedPlace second_;
};

// Of the ring, and of the results that the warps leave for the one that adds them up.
struct DecodeBarriers {
  uint64_t filled[kMaxStages];   // the stage is there
  uint64_t emptied[kMaxStages];  // all warps have read it
  uint64_t fetched;              // the activations are there, as they come
  uint64_t left[kFinishers];     // all warps' results of a tile are there
  uint64_t taken[kFinishers];    // they have been read
};

// The loader needs but one kind of barriers to begin and makes those; a finisher makes the others.
__device__ inline void init_filled(DecodeBarriers& barriers) {
  if (threadIdx.x % kWarpSize == 0) {
    init_barriers(barriers.filled, kCopyArrivals);
    fence_barriers();
  }
  __syncwarp();
}
__device__ inline void init_others(DecodeBarriers& barriers) {
  constexpr int kAllWarps = kDecodeWarps * kWarpArrivals;
  if (threadIdx.x % kWarpSize == 0) {
    init_barriers(barriers.emptied, kAllWarps);
    init_barrier(barriers.fetched, kAllWarps);
    init_barriers(barriers.left, kAllWarps);
    init_barriers(barriers.taken, kWarpArrivals);
  }
  __syncwarp();
}

// Named barriers of the block, beside that of sync_multipliers().
constexpr int kAllThere = 2;     // all barriers in shared memory
constexpr int kOthersThere = 3;  // those of init_others()

// A place in a ring of `num_stages`, and the parity of its round.
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;

  __device__ void advance(int num_stages) {
    if (++stage == num_stages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// What the loading warp does.
template <typename Traits>
class StageLoader {
 public:
  using Format = typename Traits::Format;

  __device__ StageLoader(const DecodeLaunch& p, const typename Traits::Maps& maps,
                         const DecodeShare<Traits>& share, std::byte* ring,
                         DecodeBarriers& barriers)
      : p_(p),
        maps_(maps),
        share_(share),
        shape_(p.num_lanes, p.num_slices),
        ring_(kept_address(shared_address(ring))),
        barriers_(barriers) {}

  __device__ void run() {
    RingPlace place;
    int tile = static_cast<int>(blockIdx.x) * p_.num_slices;
    int batch = 0;
    for (int i = 0; tile < p_.num_tiles; ++i) {
      if (i > 0) {
        wait_for_turn(i, place);
      }
      fill(place.stage, tile, batch);
      if (i == 0) {
        allow_dependents();
        sync_threads<kOthersThere, 2 * kWarpSize>();
      }
      place.advance(p_.num_stages);
      if (++batch == p_.num_batches) {
        batch = 0;
        tile += p_.num_columns * p_.num_slices;
      }
    }
    wait_for_own_copies();
  }

 private:
  // Until stage `i` may be asked for: when it has been emptied, after the first round. In that
  // there are no more than two under way, else the activations come behind all that is; and of
  // integers, which must be made of them then, one until they are there.
  __device__ void wait_for_turn(int i, const RingPlace& place) const {
    if (i >= p_.num_stages) {
      wait_for_phase(barriers_.emptied[place.stage], place.parity ^ 1);
      return;
    }
    if (i > 1) {
      wait_for_phase(barriers_.filled[i - 2], 0);
    }
    if constexpr (Format::kIntegers) {
      const uint32_t last = shared_address(&barriers_.filled[i - 1]);
      const uint32_t fetched = shared_address(&barriers_.fetched);
      while (!test_phase(last, 0) && !test_phase(fetched, 0)) {
      }
    }
  }

  __device__ void fill(int stage, int first_tile, int batch) {
    uint64_t& filled = barriers_.filled[stage];
    const uint32_t to = ring_ + static_cast<uint32_t>(stage * p_.stage_bytes);
    const int first = (batch * kDecodeWarps + share_.first_lane) * Format::kBatch;
    const int num_bands = 2 * p_.num_slices;
    if constexpr (Format::kRowMajor) {
      begin_copies(filled, num_bands * shape_.piece_bytes);
      for_each_copy(num_bands, [&](int i) {
        copy_rows(to + static_cast<uint32_t>(i * shape_.band_bytes),
                  band_of(first_tile + i / 2, i % 2), first, filled);
      });
    } else {
      const int tiles = min(share_.lanes * Format::kBatch, p_.num_steps - first);
      const int bytes = max(tiles, 0) * Format::kTileBytes;
      const bool has_header = Format::kHeaderBytes > 0 && batch == p_.num_batches - 1;
      begin_copies(filled, num_bands * (bytes + (has_header ? Format::kHeaderBytes : 0)));
      if (bytes > 0) {
        for_each_copy(num_bands, [&](int i) {
          copy_by_warp(to + static_cast<uint32_t>(i * shape_.band_bytes),
                       weight_of(band_of(first_tile + i / 2, i % 2)) + Format::kHeaderBytes +
                           int64_t{first} * Format::kTileBytes,
                       bytes, filled);
        });
      }
      if (has_header) {
        for_each_copy(num_bands, [&](int i) {
          copy_by_warp(to + static_cast<uint32_t>(i * shape_.band_bytes + shape_.piece_bytes),
                       weight_of(band_of(first_tile + i / 2, i % 2)), Format::kHeaderBytes, filled);
        });
      }
    }
    end_copies(filled);
  }

  struct Band {
    int target;
    int band;  // of it
  };
  // What lies beyond the last repeats it.
  [[nodiscard]] __device__ Band band_of(int tile, int second) const {
    tile = min(tile, p_.num_tiles - 1);
    if (p_.swiglu) {
      return {second, tile};
    }
    const int target = target_index(p_, tile);
    const DecodeTarget& t = p_.targets[target];
    return {target, min(2 * (tile - t.first_tile) + second, t.num_bands - 1)};
  }
  [[nodiscard]] __device__ const std::byte* weight_of(const Band& band) const {
    return p_.targets[band.target].weight + band.band * p_.band_bytes;
  }

  // Eight rows, from tile `first` of the format on, zero beyond their end.
  __device__ void copy_rows(uint32_t to, const Band& band, int first,
                            [[maybe_unused]] uint64_t& filled) const {
#if __CUDA_ARCH__ >= 900
    copy_tensor(to, maps_.of[band.target], 0, band.band * static_cast<int>(kBandRows),
                first / Format::kBatch, filled);
#else
    constexpr int kLine = StageShape<Format>::kLine;
    const int64_t row_bytes = p_.band_bytes / kBandRows;
    const std::byte* const from = weight_of(band);
    for (int i = static_cast<int>(threadIdx.x) % kWarpSize; i < shape_.piece_bytes / 16;
         i += kWarpSize) {
      const int row = i / 8 % kBandRows;
      const int chunk = i % 8;
      const int64_t offset = int64_t{first} * Format::kTileBytes + i / 64 * kLine + chunk * 16;
      copy_async_16(to + static_cast<uint32_t>(i / 8 * kLine + (chunk ^ row) * 16),
                    from + row * row_bytes + offset, offset < row_bytes);
    }
#endif
  }

  const DecodeLaunch& p_;
  const typename Traits::Maps& maps_;
  const DecodeShare<Traits>& share_;
  StageShape<Format> shape_;
  uint32_t ring_;
  DecodeBarriers& barriers_;
};

}  // namespace lychee::linear::cuda
