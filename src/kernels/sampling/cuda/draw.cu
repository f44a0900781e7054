#include <cstdint>

#include "base/math.h"
#include "kernels/cuda/cluster.cuh"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/lanes.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/sampling/cuda/token_key.cuh"
#include "kernels/sampling/sample.h"

namespace lychee::sampling::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarpSize;
static_assert(kWarps == kWarpSize);  // a lane for each
constexpr int kBinBits = 11;
constexpr int kBins = 1 << kBinBits;
constexpr int kAhead = 8;  // logits that a thread asks for at a time

// Numbers of tokens, or weights in units of 2^-40: whole, so that sums are the same in any order.
using Mass = unsigned long long;
constexpr float kWeightUnit = 1ULL << 40;

struct Found {
  int bin;
  unsigned count;  // of tokens in it
  Mass mass;       // of those
  Mass wanted;     // of that
};

struct Interval {
  int first, end;
  Mass target;  // where in it the draw lies
};

struct Shared {
  // 64-bit sums in two halves, which shared memory adds to as they are.
  unsigned low_masses[kBins], high_masses[kBins];
  unsigned counts[kBins];
  Mass warps[kWarps];
  Mass totals[2];  // of the block, in turns
  Found found;
  Interval interval;
};

// A row's draw, by a cluster of blocks. What is kept of the row are the tokens from a least key on.
template <int kCluster>
class RowDraw {
 public:
  __device__ RowDraw(const DrawParams& p, float scale, Shared& shared)
      : p_(p), vocab_size_(static_cast<int>(p.vocab_size)), scale_(scale), shared_(shared) {}

  __device__ int32_t run() {
    const int32_t best_id = *p_.best_id;
    max_ = p_.logits[best_id];
    if (!isfinite(max_)) {
      return max_ > 0 ? best_id : 0;
    }
    TokenKey least = least_key(-INFINITY);
    if (p_.sampling.top_k > 0 && p_.sampling.top_k < vocab_size_) {
      const auto top_k = static_cast<Mass>(p_.sampling.top_k);
      least = narrow<true>(least, [&](Mass) { return top_k; });
    }
    if (const double top_p = p_.sampling.top_p; top_p < 1) {
      // So many together are less than what top_p leaves, since the largest alone has a unit's
      // mass.
      negligible_ = static_cast<Mass>((1 - top_p) * kWeightUnit) / static_cast<Mass>(vocab_size_);
      least = narrow<false>(least, [&](Mass total) {
        return max(Mass{1}, static_cast<Mass>(ceil(top_p * static_cast<double>(total))));
      });
    }
    return draw(least, static_cast<float>(p_.sampling.min_p));
  }

 private:
  using Blocks = Cluster<kCluster>;
  static constexpr int kAllThreads = kCluster * kThreads;
  static constexpr int kOwnBins = ceil_div(kBins, kAllThreads);

  [[nodiscard]] static __device__ int lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }
  [[nodiscard]] static __device__ int warp() { return static_cast<int>(threadIdx.x) / kWarpSize; }
  // Of the cluster's.
  [[nodiscard]] static __device__ int thread() {
    return Blocks::rank() * kThreads + static_cast<int>(threadIdx.x);
  }

  // One of kBins ranges of logits, the largest first. They are 1/128 to 1/256 as wide as they are
  // far from the largest logit, which spreads tokens well however steep their distribution is.
  [[nodiscard]] __device__ int bucket_of(float logit) const {
    constexpr int kMantissaBits = 7;
    constexpr int kLeastExponent = 127 - 10;  // nearer than 2^-10 is one bucket
    const auto distance = static_cast<int>(__float_as_uint(max_ - logit) >> (23 - kMantissaBits));
    return min(max(distance - (kLeastExponent << kMantissaBits), 0), kBins - 1);
  }
  // The least key of the buckets up to this one.
  [[nodiscard]] __device__ TokenKey least_key_of(int bucket) const {
    uint32_t below = float_key(-INFINITY);
    uint32_t inside = float_key(max_);
    if (bucket == kBins - 1) {
      inside = below;
    }
    while (inside > below + 1) {
      const uint32_t middle = below + (inside - below) / 2;
      (bucket_of(float_of_key(middle)) <= bucket ? inside : below) = middle;
    }
    return least_key(float_of_key(inside));
  }

  [[nodiscard]] __device__ float weight_of(float logit) const {
    return exp2f((logit - max_) * scale_);
  }
  [[nodiscard]] static __device__ Mass mass_of(float weight) {
    return static_cast<Mass>(weight * kWeightUnit);
  }

  // Calls fn(logit, key) for those of the ids first, first + step, … below `end` whose keys are
  // from `least` on.
  template <typename Fn>
  __device__ void for_each(int first, int end, int step, TokenKey least, const Fn& fn) const {
    const float least_logit = logit_of(least);
    for (int begin = first; begin < end; begin += kAhead * step) {
      float logits[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int id = begin + i * step;
        logits[i] = id < end ? p_.logits[id] : NAN;
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (logits[i] >= least_logit) {  // never of NaN
          if (const TokenKey key = token_key(logits[i], begin + i * step); key >= least) {
            fn(logits[i], key);
          }
        }
      }
    }
  }

  struct Sums {
    Mass before;  // of lower threads
    Mass total;
  };
  // Of what each thread has.
  __device__ Sums sum_threads(Mass own) {
    const Mass in_warp = sum_to_lane(own);
    if (lane() == kWarpSize - 1) {
      shared_.warps[warp()] = in_warp;
    }
    __syncthreads();
    const Mass of_warp = shared_.warps[lane()];
    const Mass up_to_warp = sum_to_lane(of_warp);
    Sums sums{__shfl_sync(kAllLanes, up_to_warp - of_warp, warp()) + in_warp - own, 0};
    Mass& total = shared_.totals[turn_];
    if (threadIdx.x == kThreads - 1) {
      total = up_to_warp;
    }
    turn_ ^= 1;
    Blocks::sync();
#pragma unroll
    for (int rank = 0; rank < kCluster; ++rank) {
      const Mass other = *Blocks::peer(&total, rank);
      sums.before += rank < Blocks::rank() ? other : 0;
      sums.total += other;
    }
    return sums;
  }

  __device__ void add(int bin, Mass mass, unsigned count) {
    const auto low = static_cast<unsigned>(mass);
    const unsigned old = atomicAdd(&shared_.low_masses[bin], low);
    const unsigned high = static_cast<unsigned>(mass >> 32) + (old + low < old ? 1 : 0);
    if (high > 0) {
      atomicAdd(&shared_.high_masses[bin], high);
    }
    atomicAdd(&shared_.counts[bin], count);
  }

  // Sums masses, or numbers if kCounts, of the tokens with keys in [least, last] by bin_of(logit,
  // key). What is negligible is added to the last bin.
  template <bool kCounts, typename BinOf>
  __device__ void fill_bins(TokenKey least, TokenKey last, const BinOf& bin_of) {
    for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kThreads) {
      shared_.low_masses[i] = shared_.high_masses[i] = shared_.counts[i] = 0;
    }
    __syncthreads();
    Mass rest = 0;
    unsigned rest_count = 0;
    for_each(thread(), vocab_size_, kAllThreads, least, [&](float logit, TokenKey key) {
      if (key > last) {
        return;
      }
      if constexpr (kCounts) {
        atomicAdd(&shared_.counts[bin_of(logit, key)], 1U);
      } else if (const Mass mass = mass_of(weight_of(logit)); mass > negligible_) {
        add(bin_of(logit, key), mass, 1);
      } else {
        rest += mass;
        ++rest_count;
      }
    });
    if constexpr (!kCounts) {
      rest = warp_sum(rest);
      rest_count = __reduce_add_sync(kAllLanes, rest_count);
      if (rest > 0 && lane() == 0) {
        add(kBins - 1, rest, rest_count);
      }
    }
    Blocks::sync();
  }

  // The bin in which the mass up to it reaches what is wanted of the total; false if that is all.
  template <bool kCounts, typename WantedOf>
  __device__ bool find(const WantedOf& wanted_of, Found& found) {
    Mass masses[kOwnBins] = {};
    unsigned counts[kOwnBins] = {};
    Mass own = 0;
    const int first = thread() * kOwnBins;
    for (int i = 0; i < kOwnBins && first < kBins; ++i) {
      for (int rank = 0; rank < kCluster; ++rank) {
        const Shared& peer = *Blocks::peer(&shared_, rank);
        counts[i] += peer.counts[first + i];
        masses[i] += Mass{peer.high_masses[first + i]} << 32 | peer.low_masses[first + i];
      }
      masses[i] = kCounts ? counts[i] : masses[i];
      own += masses[i];
    }
    const Sums sums = sum_threads(own);
    const Mass wanted = wanted_of(sums.total);
    if (sums.total <= wanted) {
      return false;
    }
    Mass before = sums.before;
    for (int i = 0; i < kOwnBins; ++i) {
      if (before < wanted && before + masses[i] >= wanted) {
        for (int rank = 0; rank < kCluster; ++rank) {
          Blocks::peer(&shared_, rank)->found = {first + i, counts[i], masses[i], wanted - before};
        }
      }
      before += masses[i];
    }
    Blocks::sync();
    found = shared_.found;
    return true;
  }

  // The least key of the shortest prefix, in descending order, whose mass, or number if kCounts,
  // reaches what is wanted of the total: its last token's bucket, then ever shorter ranges of keys.
  template <bool kCounts, typename WantedOf>
  __device__ TokenKey narrow(TokenKey least, const WantedOf& wanted_of) {
    Found found;
    fill_bins<kCounts>(least, ~TokenKey{0},
                       [&](float logit, TokenKey) { return bucket_of(logit); });
    if (!find<kCounts>(wanted_of, found)) {
      return least;
    }
    least = max(least, least_key_of(found.bin));
    TokenKey last = found.bin == 0 ? ~TokenKey{0} : least_key_of(found.bin - 1) - 1;
    while (found.count > 1 && found.mass != found.wanted) {
      const int shift = max(0, 64 - __clzll(static_cast<long long>(last - least)) - kBinBits);
      fill_bins<kCounts>(least, last, [&](float, TokenKey key) {
        return static_cast<int>((last - key) >> shift);
      });
      find<kCounts>([&](Mass) { return found.wanted; }, found);
      last -= static_cast<TokenKey>(found.bin) << shift;
      least = last - min(last - least, (TokenKey{1} << shift) - 1);
    }
    return least;
  }

  // Inverse of the distribution function, ids in ascending order: the warp's share of them in which
  // the draw lies, then a warp's share of that.
  __device__ int32_t draw(TokenKey least, float least_weight) {
    Interval interval{0, vocab_size_, 0};
    for (bool is_first = true; interval.end - interval.first > 1; is_first = false) {
      const int share = ceil_div(interval.end - interval.first, kAllThreads / kWarpSize);
      const int first = min(interval.first + thread() / kWarpSize * share, interval.end);
      const int end = min(first + share, interval.end);
      Mass own = 0;
      for_each(first + lane(), end, kWarpSize, least, [&](float logit, TokenKey) {
        const float weight = weight_of(logit);
        own += weight >= least_weight ? mass_of(weight) : 0;
      });
      const Sums sums = sum_threads(own);
      if (is_first) {
        // uniform is a whole number of 2^-53.
        interval.target = __umul64hi(static_cast<Mass>(p_.uniform * 0x1p53) << 11, sums.total);
      }
      const Mass before = __shfl_sync(kAllLanes, sums.before, 0);
      const Mass behind = __shfl_sync(kAllLanes, sums.before + own, kWarpSize - 1);
      if (before <= interval.target && interval.target < behind && lane() < kCluster) {
        Blocks::peer(&shared_, lane())->interval = {first, end, interval.target - before};
      }
      Blocks::sync();
      interval = shared_.interval;
    }
    return interval.first;
  }

  const DrawParams& p_;
  int vocab_size_;
  float scale_;
  Shared& shared_;
  float max_ = 0;
  Mass negligible_ = 0;
  int turn_ = 0;  // of totals
};

// grid: one cluster.
template <int kCluster>
__global__ void __launch_bounds__(kThreads)
    draw_kernel(const __grid_constant__ DrawParams p, float scale) {
  __shared__ Shared shared;
  allow_dependents();
  wait_for_predecessors();
  const int32_t id = RowDraw<kCluster>(p, scale, shared).run();
  if (threadIdx.x == 0 && Cluster<kCluster>::rank() == 0) {
    *p.id = id;
  }
  Cluster<kCluster>::sync();  // a block's shared memory stays while others may read it
}

template <int kCluster>
void launch(const DrawParams& p, CUstream_st* stream) {
  launch_dependent_clusters(draw_kernel<kCluster>, kCluster, dim3(kCluster), dim3(kThreads), 0,
                            stream, p, weight_scale(p.sampling.temperature));
}

}  // namespace

void draw(const DrawParams& p, CUstream_st* stream) {
  constexpr int kCluster = 8;  // the largest that every GPU with clusters has
  kernel_architecture() >= 90 ? launch<kCluster>(p, stream) : launch<1>(p, stream);
}

}  // namespace lychee::sampling::cuda
