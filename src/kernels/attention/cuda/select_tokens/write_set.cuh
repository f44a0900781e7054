#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/select_tokens/candidates.cuh"
#include "kernels/attention/cuda/select_tokens/cut.cuh"
#include "kernels/attention/cuda/select_tokens/shares.cuh"
#include "kernels/attention/params.h"
#include "kernels/cuda/float_key.cuh"

namespace lychee::attention::cuda {

__device__ inline void append_range(int64_t first, int64_t end, int32_t* ids) {
#pragma unroll 1
  for (int64_t i = first + threadIdx.x; i < end; i += kSelectThreads) {
    ids[i - first] = static_cast<int32_t>(i);
  }
}

// Writes the set of a row all of whose tokens are taken, by one block.
__device__ inline void write_all(const SelectTokensParams& params, int row_id, int64_t kv_len) {
  append_range(0, kv_len, params.token_ids + int64_t{row_id} * params.token_ids_stride);
  if (threadIdx.x == 0) {
    params.num_ids[row_id] = static_cast<int32_t>(kv_len);
  }
}

// Whether a candidate is above the cut.
struct AboveCut {
  float value;
  int position;

  explicit __device__ AboveCut(const Cut& cut)
      : value(float_of_key(min(max(cut.key, float_key(-INFINITY)), float_key(INFINITY)))),
        position(cut.key < float_key(-INFINITY) ? INT32_MAX : cut.position) {}

  [[nodiscard]] __device__ bool operator()(float candidate, int at) const {
    const float known = fmaxf(candidate, -INFINITY);  // NaN counts as -inf
    return known > value || (known == value && at <= position);
  }
};

// … and has a share of at least `threshold`.
struct AboveThreshold {
  AboveCut above_cut;
  double threshold;
  Shares shares;

  [[nodiscard]] __device__ bool operator()(float candidate, int at) const {
    return above_cut(candidate, at) && shares.share(candidate) >= threshold;
  }
};

// How many candidates lower blocks (-1: not known yet) and all blocks take.
struct TakenCounts {
  int before;
  int all;
};

template <int kCluster, typename Takes>
[[nodiscard]] __noinline__ __device__ TakenCounts count_taken(const CandidateValues& values,
                                                              const Takes& takes,
                                                              SelectStorage& storage) {
  int count = 0;
  values.for_each([&](float value, int position) { count += takes(value, position) ? 1 : 0; });
  int total = 0;
  [[maybe_unused]] const int sum = block_exclusive_sum(count, storage.cut.scratch, total);
  if (threadIdx.x == 0) {
    storage.num_taken = total;
  }
  Cluster<kCluster>::sync();
  TakenCounts counts{0, 0};
  for (int rank = 0; rank < kCluster; ++rank) {
    const int taken = *Cluster<kCluster>::peer(&storage.num_taken, rank);
    counts.before += rank < Cluster<kCluster>::rank() ? taken : 0;
    counts.all += taken;
  }
  return counts;
}

// Writes the taken candidates of this block from ids[0] on, ascending. In a round a warp has up to
// kChunks runs of 128 neighbours, of which a lane has four each.
template <typename Takes>
__device__ void write_taken(const CandidateValues& values, const Takes& takes, int unit_size,
                            int32_t* ids, int* scratch) {
  constexpr int kChunks = 8;
  constexpr int kChunk = 128;
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int num_values = values.end - values.begin;
  const int per_thread = (num_values + kSelectThreads * 4 - 1) / (kSelectThreads * 4);
  const int chunks = min(kChunks, per_thread);
#pragma unroll 1
  for (int round = 0; round < num_values; round += chunks * kChunk * kSelectWarps) {
    const int first = round + warp * chunks * kChunk + lane * 4;
    uint32_t mask = 0;     // four bits a chunk
    uint64_t to_lane = 0;  // a byte a chunk
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int i = first + chunk * kChunk;
      if (i < num_values) {
        const float4 four = values.four(i);
        const int at = values.begin + i;
        uint32_t bits = takes(four.x, at) ? 1 : 0;
        bits |= takes(four.y, at + 1) ? 2 : 0;
        bits |= takes(four.z, at + 2) ? 4 : 0;
        bits |= takes(four.w, at + 3) ? 8 : 0;
        bits &= (1U << min(num_values - i, 4)) - 1;
        mask |= bits << (4 * chunk);
        to_lane |= static_cast<uint64_t>(__popc(bits)) << (8 * chunk);
      }
    }
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const uint64_t below = __shfl_up_sync(kAllLanes, to_lane, distance);
      to_lane += lane >= distance ? below : 0;
    }
    const uint64_t of_warp = __shfl_sync(kAllLanes, to_lane, 31);
    const int count = __reduce_add_sync(kAllLanes, __popc(mask));
    int of_round = 0;
    int offset = block_exclusive_sum(lane == 0 ? count : 0, scratch, of_round);
    offset = __shfl_sync(kAllLanes, offset, 0);
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; ++chunk) {
      uint32_t bits = mask >> (4 * chunk) & 0xf;
      int at = offset + static_cast<int>(to_lane >> (8 * chunk) & 0xff) - __popc(bits);
#pragma unroll 1
      for (; bits != 0; bits &= bits - 1, ++at) {
        const int candidate = values.begin + first + chunk * kChunk + __ffs(bits) - 1;
#pragma unroll 1
        for (int j = 0; j < unit_size; ++j) {
          ids[int64_t{at} * unit_size + j] = candidate * unit_size + j;
        }
      }
      offset += static_cast<int>(of_warp >> (8 * chunk) & 0xff);
    }
    ids += int64_t{of_round} * unit_size;
  }
}

// Writes the row's set, ascending: forced ones below, what is taken, forced above. Ends the
// cluster's life: nobody reads shared memory of others any more.
template <int kCluster, typename Takes>
__device__ void write_set(const SelectTokensParams& params, int row_id, const SelectRow& row,
                          const CandidateValues& values, const Takes& takes, TakenCounts counts,
                          SelectStorage& storage) {
  if (counts.before < 0) {
    counts = count_taken<kCluster>(values, takes, storage);
  }
  Cluster<kCluster>::arrive();
  int32_t* ids = params.token_ids + int64_t{row_id} * params.token_ids_stride;
  const int64_t below = int64_t{row.first_free} * row.unit_size;
  const int64_t above = int64_t{row.end_free} * row.unit_size;
  write_taken(values, takes, row.unit_size, ids + below + int64_t{counts.before} * row.unit_size,
              storage.cut.scratch);
  const int64_t num_below = below + int64_t{counts.all} * row.unit_size;
  if (Cluster<kCluster>::rank() == 0) {
    append_range(0, below, ids);
  }
  if (Cluster<kCluster>::rank() == kCluster - 1) {
    append_range(above, row.kv_len, ids + num_below);
    if (threadIdx.x == 0) {
      params.num_ids[row_id] = static_cast<int32_t>(num_below + row.kv_len - above);
    }
  }
  Cluster<kCluster>::wait();  // nobody may leave while others read its shared memory
}

}  // namespace lychee::attention::cuda
