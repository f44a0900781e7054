#pragma once

#include <cstdint>

#include "kernels/attention/cuda/blended_attention/block_rows.cuh"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/matrix.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace lychee::attention::cuda {

// A block that multiplies with wgmma and copies with the bulk copy engine: compute capability 9.0,
// operands in one part. Two warpgroups of 64 queries wait for no one but the copies, so that one
// weighs scores while the other multiplies.
template <int kDim, bool kBackward, bool kReadsV>
class WarpgroupBlock : public BlockRows<kDim, 128, 1, kPanelRows / 8> {
  using Base = BlockRows<kDim, 128, 1, kPanelRows / 8>;
  using Base::end_tile_;
  using Base::first_query_;
  using Base::first_tile_;
  using Base::kv_head_;
  using Base::view_;
  static constexpr int kPanelBytes = kPanelRows * kDim * 2;
  static constexpr int kHalfBytes = kPanelRows * 128;  // of 64 dimensions
  static constexpr int kQueryBytes = 2 * kPanelBytes;
  static constexpr int kTileBytes = (kReadsV ? 2 : 1) * kPanelBytes;
  static constexpr int kNumStages = kReadsV ? 4 : 3;
  static constexpr int kAhead = 2;  // tiles on their way; the rest is how far warps may drift apart
  // Spares shared memory their reads. Of 64 dimensions ptxas of CUDA 13.0 lays softmax weights over
  // the registers of queries that the next tile still needs.
  static constexpr bool kQueriesInRegisters = kDim > 64;
  static constexpr int kUnit = 1024;
  static constexpr int kSteps = kDim / 16;

  struct Storage {
    unsigned char queries[kBackward ? 2 : 1][kQueryBytes];
    unsigned char tiles[kNumStages][kTileBytes];
    uint64_t queries_there;
    uint64_t tile_there[kNumStages];
    uint64_t tile_done[kNumStages];
  };

 public:
  using typename Base::Outputs;
  using typename Base::Scores;
  // Of a multiprocessor: two where registers and shared memory allow.
  static constexpr int kMinBlocks = kBackward || kReadsV ? 1 : 2;
  static constexpr int kSharedBytes = static_cast<int>(sizeof(Storage)) + kUnit;

  __device__ WarpgroupBlock(const BlendedView& view, unsigned char* shared)
      : Base(view),
        storage_(*reinterpret_cast<Storage*>(shared +
                                             (kUnit - shared_address(shared) % kUnit) % kUnit)) {}

  // Calls body(first token, K tile, V tile) for every tile.
  template <typename Body>
  __device__ void for_each_tile(const Body& body) {
    start();
    const int num_tiles = end_tile_ - first_tile_;
    for (int i = 0; i < num_tiles; ++i) {
      if (threadIdx.x == 0) {
        load_tile(i + kAhead, num_tiles);
      }
      __syncwarp();
      const int stage = i % kNumStages;
      wait_for_phase(storage_.tile_there[stage], i / kNumStages % 2);
      const uint32_t k_tile = shared_address(storage_.tiles[stage]);
      body((first_tile_ + i) * Base::kTileTokens, k_tile, k_tile + kTileBytes - kPanelBytes);
      __syncwarp();
      if (Base::lane() == 0) {
        arrive(storage_.tile_done[stage]);
      }
    }
  }

  __device__ void score(int first_token, uint32_t k_tile, Scores& scores) const {
    begin_products();
    multiply(0, queries_, k_tile, scores);
    commit_products();
    wait_for_products<0>();
    this->mask(first_token, scores);
  }
  __device__ void score(int first_token, uint32_t k_tile, uint32_t v_tile, Scores& scores,
                        Scores& d_weights) const {
    begin_products();
    multiply(0, queries_, k_tile, scores);
    multiply(1, d_out_, v_tile, d_weights);
    commit_products();
    wait_for_products<0>();
    this->mask(first_token, scores);
  }
  __device__ void add_weighted(const Scores& weights, uint32_t tile, Outputs& outputs) const {
    uint32_t a[kPanelRows / 16][4];
#pragma unroll
    for (int step = 0; step < kPanelRows / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = weights[0][2 * step + i / 2];
        a[step][i] = pack_pair<__nv_bfloat16>(pair[2 * (i % 2)], pair[2 * (i % 2) + 1]);
      }
    }
    begin_products();
#pragma unroll
    for (int step = 0; step < kPanelRows / 16; ++step) {
      multiply_by_columns(outputs[0], a[step], swizzled_rows(tile + step * 16 * 128, kHalfBytes));
    }
    commit_products();
    wait_for_products<0>();
  }

 private:
  using Fragments = uint32_t[kSteps][4];

  // plane: 0, queries, or 1, d_out, of which `rows` are the warp's fragments.
  __device__ void multiply(int plane, const Fragments& rows, uint32_t tile,
                           Scores& products) const {
    const uint32_t shared_rows = panel_of_warpgroup(plane);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const int offset = step / 4 * kHalfBytes + step % 4 * 32;
      const uint64_t columns = swizzled_rows(tile + offset, kHalfBytes);
      if constexpr (kQueriesInRegisters) {
        multiply_by_rows(products[0], rows[step], columns, step > 0);
      } else {
        multiply_by_rows(products[0], swizzled_rows(shared_rows + offset, kHalfBytes), columns,
                         step > 0);
      }
    }
  }
  [[nodiscard]] __device__ uint32_t panel_of_warpgroup(int plane) const {
    return shared_address(storage_.queries[plane]) + Base::warp_row() / kPanelRows * kPanelBytes;
  }

  // Sets up the barriers, asks for the first tiles, and fetches the warp's queries.
  __device__ void start() {
    if (threadIdx.x == 0) {
      init_barrier(storage_.queries_there, 1);
      for (int stage = 0; stage < kNumStages; ++stage) {
        init_barrier(storage_.tile_there[stage], 1);
        init_barrier(storage_.tile_done[stage], Base::kNumWarps);
      }
      fence_barriers();
      load_queries();
      for (int i = 0; i < kAhead; ++i) {
        load_tile(i, end_tile_ - first_tile_);
      }
    }
    __syncthreads();
    wait_for_phase(storage_.queries_there, 0);
    if constexpr (kQueriesInRegisters) {
      read_queries(panel_of_warpgroup(0), queries_);
      if constexpr (kBackward) {
        read_queries(panel_of_warpgroup(1), d_out_);
      }
    }
  }
  __device__ void load_queries() {
    const int64_t first = (int64_t{kv_head_} * view_.padded_queries + first_query_) * kDim;
    arrive_expecting(storage_.queries_there, sizeof(storage_.queries));
    copy_bulk(shared_address(storage_.queries[0]), view_.q + first, kQueryBytes,
              storage_.queries_there);
    if constexpr (kBackward) {
      copy_bulk(shared_address(storage_.queries[1]), view_.d_out + first, kQueryBytes,
                storage_.queries_there);
    }
  }
  // By one thread: tile i of the block's num_tiles, when all warps are done with its stage.
  __device__ void load_tile(int i, int num_tiles) {
    if (i >= num_tiles) {
      return;
    }
    const int stage = i % kNumStages;
    if (i >= kNumStages) {
      wait_for_phase(storage_.tile_done[stage], (i / kNumStages - 1) % 2);
    }
    const int64_t first =
        (int64_t{kv_head_} * view_.padded_tokens + (first_tile_ + i) * Base::kTileTokens) * kDim;
    arrive_expecting(storage_.tile_there[stage], kTileBytes);
    const uint32_t to = shared_address(storage_.tiles[stage]);
    copy_bulk(to, view_.k + first, kPanelBytes, storage_.tile_there[stage]);
    if constexpr (kReadsV) {
      copy_bulk(to + kPanelBytes, view_.v + first, kPanelBytes, storage_.tile_there[stage]);
    }
  }
  __device__ void read_queries(uint32_t panel, Fragments& queries) const {
    const int row = Base::warp_row() % kPanelRows + Base::lane() % 16;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const auto chunk =
          static_cast<uint32_t>(plane_chunk(row, 2 * step + Base::lane() / 16, kDim));
      load_matrices(queries[step], panel + 16 * chunk);
    }
  }

  Storage& storage_;
  Fragments queries_;
  Fragments d_out_;
};

}  // namespace lychee::attention::cuda
