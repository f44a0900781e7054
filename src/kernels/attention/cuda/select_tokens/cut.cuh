#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/float_key.cuh"
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/warp.cuh"

namespace lychee::attention::cuda {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;
constexpr int kNumBins = kSelectThreads;
constexpr int kMaxMembers = 512;  // beyond, ranking one by one takes longer than digits do

// The best of some values: all whose key is above `key`, and of those equal to
// it the ones up to `position`.
struct Cut {
  uint32_t key;
  int position;

  [[nodiscard]] __device__ bool takes(uint32_t candidate, int at) const {
    return candidate > key || (candidate == key && at <= position);
  }
};

struct Member {
  uint32_t key;
  int position;
};

// What a block has of the values around the cut's step.
struct BlockCounts {
  int members;  // in the step
  int above;    // in higher ones
};

struct CutStorage {
  // One table a round, so that a block may go on while others still read its
  // last one.
  uint32_t counts[5][kNumBins];
  Member own_members[kMaxMembers];
  Member members[kMaxMembers];
  BlockCounts own_counts;
  double sums[2];      // by turns, for the same reason
  uint32_t low, high;  // keys of the lowest and highest value of this block
  float max;           // of this block's scores
  int num_ties;
  int scratch[kSelectWarps];
  float scratch_floats[kSelectWarps];
  double scratch_doubles[kSelectWarps];
  int found_bin;
  int found_above;  // values in higher bins
  int found_count;
  Cut cut;
  int num_before;  // values under the cut in lower blocks; -1: not known
};

// Sum over the threads below this one; `total` gets that of all. Synchronises.
[[nodiscard]] __device__ inline int block_exclusive_sum(int value, int* scratch, int& total) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int to_lane = sum_to_lane(value);
  if (lane == 31) {
    scratch[warp] = to_lane;
  }
  __syncthreads();
  const int to_warp = sum_to_lane(scratch[lane]);  // as many warps as lanes
  total = __shfl_sync(kAllLanes, to_warp, 31);
  const int before = warp == 0 ? 0 : __shfl_sync(kAllLanes, to_warp, warp - 1);
  __syncthreads();
  return before + to_lane - value;
}

// Finds the cut that takes the `wanted` best of a cluster's values. Block
// `rank` has those at positions [begin, end) behind `value_at`; all of its
// functions are called by whole clusters.
template <int kCluster, typename ValueAt>
class CutFinder {
 public:
  __device__ CutFinder(CutStorage& storage, const ValueAt& value_at, int begin, int end)
      : storage_(storage), value_at_(value_at), begin_(begin), end_(end) {}

  // Before a barrier of the block and everything else.
  __device__ void clear() {
    for (int i = static_cast<int>(threadIdx.x); i < 5 * kNumBins / 4; i += kSelectThreads) {
      reinterpret_cast<uint4*>(&storage_.counts[0][0])[i] = {0, 0, 0, 0};
    }
    if (threadIdx.x == 0) {
      storage_.own_counts = {0, 0};
      storage_.low = ~uint32_t{0};
      storage_.high = 0;
      storage_.num_before = -1;
    }
  }

  // 1 <= wanted <= values of the cluster. Values spread over equal steps from
  // the lowest to the highest mostly leave a few dozen to rank one by one;
  // where they do not, four rounds over the digits of their keys find the cut
  // whatever they are.
  [[nodiscard]] __device__ Cut find(int wanted) {
    if (!find_among_few(wanted)) {
      find_by_digits(*this, wanted);
    }
    return storage_.cut;
  }

  // Leaves in the cut the `wanted`-th lowest position whose key is `key`.
  __device__ void find_tie(uint32_t key, int wanted) {
    const int warp = static_cast<int>(threadIdx.x / 32);
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int per_warp = (end_ - begin_ + kSelectThreads - 1) / kSelectThreads * 32;
    const int first = begin_ + warp * per_warp;
    const int last = min(first + per_warp, end_);
    int count = 0;
    for (int i = first; i < last; i += 32) {
      count += __popc(__ballot_sync(kAllLanes, is_tie(i + lane, last, key)));
    }
    int total = 0;
    int before = block_exclusive_sum(lane == 0 ? count : 0, storage_.scratch, total);
    before = __shfl_sync(kAllLanes, before, 0);
    if (threadIdx.x == 0) {
      storage_.num_ties = total;
    }
    Cluster<kCluster>::sync();
    for (int rank = 0; rank < Cluster<kCluster>::rank(); ++rank) {
      before += *Cluster<kCluster>::peer(&storage_.num_ties, rank);
    }
    if (before < wanted && before + count >= wanted) {
      for (int i = first; i < last; i += 32) {
        const uint32_t ties = __ballot_sync(kAllLanes, is_tie(i + lane, last, key));
        if (before < wanted && before + __popc(ties) >= wanted && (ties >> lane & 1) != 0 &&
            before + __popc(ties & ((1U << lane) - 1)) == wanted - 1) {
          for (int rank = 0; rank < kCluster; ++rank) {
            *Cluster<kCluster>::peer(&storage_.cut, rank) = {key, i + lane};
          }
        }
        before += __popc(ties);
      }
    }
    Cluster<kCluster>::sync();
  }

  // The sum of every thread's value, the same in all blocks and always added in
  // the same order.
  [[nodiscard]] __device__ double sum(double value) {
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) {
      storage_.scratch_doubles[threadIdx.x / 32] = value;
    }
    __syncthreads();
    double* own = &storage_.sums[turn_];
    turn_ ^= 1;
    if (threadIdx.x == 0) {
      double block = 0;
      for (const double warp : storage_.scratch_doubles) {
        block += warp;
      }
      *own = block;
    }
    Cluster<kCluster>::sync();
    double all = 0;
    for (int rank = 0; rank < kCluster; ++rank) {
      all += *Cluster<kCluster>::peer(own, rank);
    }
    return all;
  }

 private:
  [[nodiscard]] __device__ bool is_tie(int position, int end, uint32_t key) const {
    return position < end && float_key(value_at_(position)) == key;
  }

  // Lowest value above -inf and highest value of the cluster.
  [[nodiscard]] __device__ float2 find_range() {
    float low = INFINITY;
    float high = -INFINITY;
    value_at_.for_each([&](float value, int) {  // fminf and fmaxf pass over NaN
      low = value == -INFINITY ? low : fminf(low, value);
      high = fmaxf(high, value);
    });
    const uint32_t low_key = __reduce_min_sync(kAllLanes, float_key(low));
    const uint32_t high_key = __reduce_max_sync(kAllLanes, float_key(high));
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (lane == 0) {
      atomicMin(&storage_.low, low_key);
      atomicMax(&storage_.high, high_key);
    }
    Cluster<kCluster>::sync();
    const int rank = lane % kCluster;
    return {
        float_of_key(__reduce_min_sync(kAllLanes, *Cluster<kCluster>::peer(&storage_.low, rank))),
        float_of_key(__reduce_max_sync(kAllLanes, *Cluster<kCluster>::peer(&storage_.high, rank)))};
  }

  // Adds up the cluster's counts of one round and finds the bin in which, from
  // the top, the `wanted`-th value lies.
  __device__ void find_bin(int round, int wanted) {
    Cluster<kCluster>::sync();
    const int bin = kNumBins - 1 - static_cast<int>(threadIdx.x);
    int count = 0;
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      count += static_cast<int>(*Cluster<kCluster>::peer(&storage_.counts[round][bin], rank));
    }
    int total = 0;
    const int above = block_exclusive_sum(count, storage_.scratch, total);
    if (above < wanted && above + count >= wanted) {
      set_found(bin, above, count);
    }
    __syncthreads();
  }
  __device__ void set_found(int bin, int above, int count) {
    storage_.found_bin = bin;
    storage_.found_above = above;
    storage_.found_count = count;
  }

  // False, with nothing decided, where the values are not finite or too many
  // share a step.
  [[nodiscard]] __device__ bool find_among_few(int wanted) {
    const float2 range = find_range();
    const float steps = static_cast<float>(kNumBins - 1) / (range.y - range.x);
    if (!(steps > 0 && steps < INFINITY)) {
      return false;
    }
    const auto bin_of = [&](float value) {
      // The sum's low bits are the product to the nearest integer.
      const uint32_t bits = __float_as_uint(fmaf(value - range.x, steps, 0x1p23F));
      return value >= range.x ? static_cast<int>(bits & (kNumBins - 1)) : 0;
    };
    value_at_.for_each(
        [&](float value, int) { atomicAdd(&storage_.counts[4][bin_of(value)], 1U); });
    find_bin(4, wanted);
    const int found = storage_.found_bin;
    if (storage_.found_count > kMaxMembers) {
      return false;
    }
    value_at_.for_each([&](float value, int position) {
      if (bin_of(value) == found) {
        storage_.own_members[atomicAdd(&storage_.own_counts.members, 1)] = {float_key(value),
                                                                            position};
      }
    });
    // What is above the step, the counts know.
    const int bin = static_cast<int>(threadIdx.x);
    const int count = bin > found ? static_cast<int>(storage_.counts[4][bin]) : 0;
    const int above = __reduce_add_sync(kAllLanes, count);
    if (threadIdx.x % 32 == 0 && above > 0) {
      atomicAdd(&storage_.own_counts.above, above);
    }
    rank_members(wanted - storage_.found_above);
    return true;
  }

  // Brings the members of all blocks together and finds the `wanted`-th best.
  __device__ void rank_members(int wanted) {
    Cluster<kCluster>::sync();
    const int thread = static_cast<int>(threadIdx.x);
    const BlockCounts counts =
        *Cluster<kCluster>::peer(&storage_.own_counts, thread % 32 % kCluster);
    int owner = 0;  // block of the member that this thread takes
    int first = 0;
    int total = 0;
    int above = 0;  // in lower blocks
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      const int members = __shfl_sync(kAllLanes, counts.members, rank);
      owner = thread >= total ? rank : owner;
      first = thread >= total ? total : first;
      above += rank < Cluster<kCluster>::rank() ? __shfl_sync(kAllLanes, counts.above, rank) : 0;
      total += members;
    }
    if (thread < total) {
      storage_.members[thread] =
          Cluster<kCluster>::peer(&storage_.own_members[0], owner)[thread - first];
    }
    if (thread == 0) {
      storage_.num_before = above;
    }
    __syncthreads();
    if (thread < total) {
      const Member own = storage_.members[thread];
      int better = 0;
#pragma unroll 4
      for (int i = 0; i < total; ++i) {
        const Member other = storage_.members[i];
        better += other.key > own.key || (other.key == own.key && other.position < own.position);
      }
      if (better == wanted - 1) {
        storage_.cut = {own.key, own.position};
      }
      if (better < wanted && owner < Cluster<kCluster>::rank()) {
        atomicAdd(&storage_.num_before, 1);
      }
    }
    __syncthreads();
  }

  // By value, and not inlined: what is rarely needed shall cost the rest
  // nothing.
  static __noinline__ __device__ void find_by_digits(CutFinder finder, int wanted) {
    finder.find_digits(wanted);
  }
  __device__ void find_digits(int wanted) {
    constexpr int kRounds = 4;
    constexpr int kShifts[kRounds] = {22, 12, 2, 0};
    constexpr uint32_t kMasks[kRounds] = {0x3ff, 0x3ff, 0x3ff, 0x3};
    uint32_t prefix = 0;
    uint32_t decided = 0;  // bits of the key that prefix holds
    for (int round = 0; round < kRounds; ++round) {
      __syncthreads();
      value_at_.for_each([&](float value, int) {
        const uint32_t key = float_key(value);
        if ((key & decided) == prefix) {
          atomicAdd(&storage_.counts[round][key >> kShifts[round] & kMasks[round]], 1U);
        }
      });
      find_bin(round, wanted);
      wanted -= storage_.found_above;
      prefix |= static_cast<uint32_t>(storage_.found_bin) << kShifts[round];
      decided |= kMasks[round] << kShifts[round];
    }
    find_tie(prefix, wanted);
  }

  CutStorage& storage_;
  ValueAt value_at_;
  int begin_;
  int end_;
  int turn_ = 0;
};

}  // namespace lychee::attention::cuda
