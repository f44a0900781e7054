#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

constexpr int kSelectThreads = 1024;
constexpr int kSelectWarps = kSelectThreads / 32;
constexpr int kNumBins = 2048;
constexpr int kMaxMembers = kSelectThreads;

// An integer that orders like the score: -0 equals +0, NaN equals -inf. Integers, because they keep
// denormals apart.
[[nodiscard]] __device__ inline uint32_t score_key(float score) {
  constexpr uint32_t kSign = 0x80000000;
  constexpr uint32_t kInf = 0x7f800000;
  const uint32_t bits = __float_as_uint(score);
  const uint32_t magnitude = bits & ~kSign;
  const uint32_t key = (bits & kSign) != 0 ? kSign - magnitude : kSign + magnitude;
  return magnitude > kInf ? kSign - kInf : key;
}

// The best of some values: all whose key is above `key`, and of those equal to it the ones up to
// `position`.
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

struct CutStorage {
  // One table a round, so that a block may go on while others still read its last one.
  uint32_t counts[4][kNumBins];
  Member own_members[kMaxMembers];
  Member members[kMaxMembers];
  double sums[2];  // by turns, for the same reason
  float range[2];  // minimum, maximum of this block's values
  int num_own_members;
  int num_ties;
  int scratch[kSelectWarps];
  float scratch_floats[2][kSelectWarps];
  double scratch_doubles[kSelectWarps];
  int found_bin;
  int found_above;  // values in higher bins
  int found_count;
  Cut cut;
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

// Finds the cut that takes the `wanted` best of a cluster's values. Block `rank` has those at
// positions [begin, end) behind `value_at`; all of its functions are called by whole clusters.
template <int kCluster, typename ValueAt>
class CutFinder {
 public:
  __device__ CutFinder(CutStorage& storage, const ValueAt& value_at, int begin, int end)
      : storage_(storage), value_at_(value_at), begin_(begin), end_(end) {}

  // 1 <= wanted <= values of the cluster. Values spread over equal steps from the lowest to the
  // highest mostly leave a few dozen to rank one by one; where they do not, three rounds over the
  // digits of their keys find the cut whatever they are.
  [[nodiscard]] __device__ Cut find(int wanted) {
    clear();
    if (!find_among_few(wanted)) {
      find_by_digits(wanted);
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

  // The sum of every thread's value, the same in all blocks and always added in the same order.
  [[nodiscard]] __device__ double sum(double value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
      value += __shfl_xor_sync(kAllLanes, value, mask);
    }
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
    return position < end && score_key(value_at_(position)) == key;
  }

  __device__ void clear() {
    for (int i = static_cast<int>(threadIdx.x); i < 4 * kNumBins; i += kSelectThreads) {
      storage_.counts[i / kNumBins][i % kNumBins] = 0;
    }
    if (threadIdx.x == 0) {
      storage_.num_own_members = 0;
    }
  }

  // Lowest value above -inf and highest value of the cluster.
  [[nodiscard]] __device__ float2 find_range() {
    float low = INFINITY;
    float high = -INFINITY;
    for (int i = begin_ + static_cast<int>(threadIdx.x); i < end_; i += kSelectThreads) {
      const float value = value_at_(i);  // comparisons with NaN are false
      low = value > -INFINITY && value < low ? value : low;
      high = value > high ? value : high;
    }
    low = -max_over_lanes<1, 32>(-low);
    high = max_over_lanes<1, 32>(high);
    const int warp = static_cast<int>(threadIdx.x / 32);
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (lane == 0) {
      storage_.scratch_floats[0][warp] = low;
      storage_.scratch_floats[1][warp] = high;
    }
    __syncthreads();
    if (warp == 0) {
      low = -max_over_lanes<1, 32>(-storage_.scratch_floats[0][lane]);
      high = max_over_lanes<1, 32>(storage_.scratch_floats[1][lane]);
      if (lane == 0) {
        storage_.range[0] = low;
        storage_.range[1] = high;
      }
    }
    Cluster<kCluster>::sync();
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      low = rank == 0 ? INFINITY : low;
      high = rank == 0 ? -INFINITY : high;
      const float* range = Cluster<kCluster>::peer(&storage_.range[0], rank);
      low = fminf(low, range[0]);
      high = fmaxf(high, range[1]);
    }
    return {low, high};
  }

  // Adds up the cluster's counts of one round and finds the bin in which, from the top, the
  // `wanted`-th value lies.
  __device__ void find_bin(int round, int wanted) {
    Cluster<kCluster>::sync();
    // Thread t has the two bins below kNumBins - 2 t.
    const int top = kNumBins - 1 - 2 * static_cast<int>(threadIdx.x);
    int high = 0;
    int low = 0;
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      const uint32_t* counts = Cluster<kCluster>::peer(&storage_.counts[round][0], rank);
      const uint2 pair = *reinterpret_cast<const uint2*>(counts + top - 1);
      low += static_cast<int>(pair.x);
      high += static_cast<int>(pair.y);
    }
    int total = 0;
    const int above = block_exclusive_sum(high + low, storage_.scratch, total);
    if (above < wanted && above + high >= wanted) {
      set_found(top, above, high);
    } else if (above + high < wanted && above + high + low >= wanted) {
      set_found(top - 1, above + high, low);
    }
    __syncthreads();
  }
  __device__ void set_found(int bin, int above, int count) {
    storage_.found_bin = bin;
    storage_.found_above = above;
    storage_.found_count = count;
  }

  // False, with nothing decided, where the values are not finite or too many share a step.
  [[nodiscard]] __device__ bool find_among_few(int wanted) {
    const float2 range = find_range();
    const float steps = static_cast<float>(kNumBins - 1) / (range.y - range.x);
    if (!(steps > 0 && steps < INFINITY)) {
      return false;
    }
    const auto bin_of = [&](float value) {
      return value >= range.x ? min(__float2int_rd((value - range.x) * steps), kNumBins - 1) : 0;
    };
    for (int i = begin_ + static_cast<int>(threadIdx.x); i < end_; i += kSelectThreads) {
      atomicAdd(&storage_.counts[3][bin_of(value_at_(i))], 1U);
    }
    find_bin(3, wanted);
    const int bin = storage_.found_bin;
    if (storage_.found_count > kMaxMembers) {
      return false;
    }
    for (int i = begin_ + static_cast<int>(threadIdx.x); i < end_; i += kSelectThreads) {
      if (const float value = value_at_(i); bin_of(value) == bin) {
        storage_.own_members[atomicAdd(&storage_.num_own_members, 1)] = {score_key(value), i};
      }
    }
    rank_members(wanted - storage_.found_above);
    return true;
  }

  __device__ void rank_members(int wanted) {
    Cluster<kCluster>::sync();
    int first = 0;
    const int thread = static_cast<int>(threadIdx.x);
    for (int rank = 0; rank < kCluster; ++rank) {
      const int count = *Cluster<kCluster>::peer(&storage_.num_own_members, rank);
      if (thread < count) {
        storage_.members[first + thread] =
            Cluster<kCluster>::peer(&storage_.own_members[0], rank)[thread];
      }
      first += count;
    }
    __syncthreads();
    if (thread < first) {
      const Member own = storage_.members[thread];
      int better = 0;
      for (int i = 0; i < first; ++i) {
        const Member other = storage_.members[i];
        better += other.key > own.key || (other.key == own.key && other.position < own.position);
      }
      if (better == wanted - 1) {
        storage_.cut = {own.key, own.position};
      }
    }
    __syncthreads();
  }

  __device__ void find_by_digits(int wanted) {
    constexpr int kShifts[] = {21, 10, 0};
    constexpr uint32_t kMasks[] = {0x7ff, 0x7ff, 0x3ff};
    uint32_t prefix = 0;
    uint32_t decided = 0;  // bits of the key that prefix holds
    for (int round = 0; round < 3; ++round) {
      __syncthreads();
      for (int i = begin_ + static_cast<int>(threadIdx.x); i < end_; i += kSelectThreads) {
        const uint32_t key = score_key(value_at_(i));
        if ((key & decided) == prefix) {
          atomicAdd(&storage_.counts[round][key >> kShifts[round] & kMasks[round]], 1U);
        }
      }
      find_bin(round, wanted);
      wanted -= storage_.found_above;
      prefix |= static_cast<uint32_t>(storage_.found_bin) << kShifts[round];
      decided |= kMasks[round] << kShifts[round];
    }
    find_tie(prefix, wanted);
  }

  CutStorage& storage_;
  const ValueAt& value_at_;
  int begin_;
  int end_;
  int turn_ = 0;
};

}  // namespace lychee::attention::cuda
