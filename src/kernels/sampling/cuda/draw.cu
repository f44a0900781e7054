#include <cstdint>

#include "base/math.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/sampling/cuda/token_key.cuh"
#include "kernels/sampling/sample.h"

namespace lychee::sampling::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kBins = 2048;
constexpr int kDigitBits = 11;
constexpr float kBucketsPerUnit = 32;  // of logits, below the largest
constexpr int kAhead = 8;              // logits that a thread asks for at a time

// Counts, or weights in units of 2^-40: whole numbers, so that sums are the same in any order.
using Mass = unsigned long long;
constexpr float kWeightUnit = 1ULL << 40;

// The last token of those that are kept, in descending order. Buckets hold a range of logits each,
// the largest first, and spread tokens over bins better than the first bits of their keys.
struct Cut {
  int bucket = kBins - 1;
  TokenKey key = 0;
};

struct Bin {
  Mass mass;
  unsigned count;
};

struct Found {
  int rank;
  Mass before;  // mass of the bins before it
  Bin bin;
};

struct Shared {
  Bin bins[kBins];
  Mass scan[kThreads];
  Found found;
};

// A row's draw, by one block.
class RowDraw {
 public:
  __device__ RowDraw(const DrawParams& p, float scale, Shared& shared)
      : p_(p), scale_(scale), shared_(shared) {}

  __device__ int32_t run() {
    const TokenKey best = largest_key();
    if (best == 0) {
      return 0;
    }
    const int32_t best_id = id_of(best);
    max_ = p_.logits[best_id];
    if (!isfinite(max_)) {
      return max_ > 0 ? best_id : 0;
    }
    Cut cut;
    if (p_.sampling.top_k > 0 && p_.sampling.top_k < p_.vocab_size) {
      cut = narrow<true>(cut, static_cast<Mass>(p_.sampling.top_k));
    }
    if (p_.sampling.top_p < 1) {
      const auto total = static_cast<double>(scan(mass_of_range(cut, 0)));
      cut = narrow<false>(cut, max(Mass{1}, static_cast<Mass>(ceil(p_.sampling.top_p * total))));
    }
    return draw(cut, static_cast<float>(p_.sampling.min_p));
  }

 private:
  [[nodiscard]] static __device__ int thread() { return static_cast<int>(threadIdx.x); }

  [[nodiscard]] __device__ int bucket_of(float logit) const {
    return static_cast<int>(fminf((max_ - logit) * kBucketsPerUnit, kBins - 1));
  }
  [[nodiscard]] __device__ bool keeps(const Cut& cut, float logit, int64_t id) const {
    const int bucket = bucket_of(logit);
    return bucket < cut.bucket || (bucket == cut.bucket && token_key(logit, id) >= cut.key);
  }
  [[nodiscard]] __device__ float weight_of(float logit) const {
    return isnan(logit) ? 0.0F : exp2f((logit - max_) * scale_);
  }
  [[nodiscard]] static __device__ Mass mass_of(float weight) {
    return static_cast<Mass>(weight * kWeightUnit);
  }

  // Calls fn(id, logit) for ids first, first + step, … below `end`.
  template <typename Fn>
  __device__ void for_each(int64_t first, int64_t end, int step, const Fn& fn) const {
    for (int64_t begin = first; begin < end; begin += int64_t{kAhead} * step) {
      float logits[kAhead];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int64_t id = begin + int64_t{i} * step;
        logits[i] = id < end ? p_.logits[id] : 0.0F;
      }
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (const int64_t id = begin + int64_t{i} * step; id < end) {
          fn(id, logits[i]);
        }
      }
    }
  }

  __device__ TokenKey largest_key() {
    TokenKey best = 0;
    for_each(thread(), p_.vocab_size, kThreads,
             [&](int64_t id, float logit) { best = max(best, token_key(logit, id)); });
    shared_.scan[thread()] = best;
    for (int width = kThreads / 2; width > 0; width /= 2) {
      __syncthreads();
      if (thread() < width) {
        shared_.scan[thread()] = max(shared_.scan[thread()], shared_.scan[thread() + width]);
      }
    }
    __syncthreads();
    best = shared_.scan[0];
    __syncthreads();
    return best;
  }

  // The sum over all threads; shared_.scan[t] is that up to thread t.
  __device__ Mass scan(Mass own) {
    shared_.scan[thread()] = own;
    for (int step = 1; step < kThreads; step *= 2) {
      __syncthreads();
      const Mass other = thread() >= step ? shared_.scan[thread() - step] : 0;
      __syncthreads();
      shared_.scan[thread()] += other;
    }
    __syncthreads();
    return shared_.scan[kThreads - 1];
  }

  // Sums masses, or numbers if kCounts, of what `outer` keeps by rank_of(logit, key), less than 0
  // for tokens to be left out, and finds the rank at which their sum reaches `wanted`. False if it
  // does not.
  template <bool kCounts, typename RankOf>
  __device__ bool find(const Cut& outer, Mass wanted, const RankOf& rank_of, Found& found) {
    for (int i = thread(); i < kBins; i += kThreads) {
      shared_.bins[i] = {0, 0};
    }
    __syncthreads();
    for_each(thread(), p_.vocab_size, kThreads, [&](int64_t id, float logit) {
      const int rank = keeps(outer, logit, id) ? rank_of(logit, token_key(logit, id)) : -1;
      if (rank >= 0) {
        atomicAdd(&shared_.bins[rank].mass, kCounts ? Mass{1} : mass_of(weight_of(logit)));
        atomicAdd(&shared_.bins[rank].count, 1U);
      }
    });
    __syncthreads();
    constexpr int kOwn = kBins / kThreads;
    Mass own = 0;
    for (int i = 0; i < kOwn; ++i) {
      own += shared_.bins[thread() * kOwn + i].mass;
    }
    const Mass total = scan(own);
    Mass before = shared_.scan[thread()] - own;
    for (int i = 0; i < kOwn; ++i) {
      const int rank = thread() * kOwn + i;
      const Bin bin = shared_.bins[rank];
      if (before < wanted && before + bin.mass >= wanted) {
        shared_.found = {rank, before, bin};
      }
      before += bin.mass;
    }
    __syncthreads();
    found = shared_.found;
    __syncthreads();
    return total >= wanted;
  }

  // The shortest prefix of what `outer` keeps whose mass, or number if kCounts, reaches `wanted`:
  // its last token's bucket, then its key's digits from the highest on.
  template <bool kCounts>
  __device__ Cut narrow(const Cut& outer, Mass wanted) {
    Found found;
    if (!find<kCounts>(
            outer, wanted, [&](float logit, TokenKey) { return bucket_of(logit); }, found)) {
      return outer;
    }
    Cut cut{found.rank, 0};
    TokenKey prefix = 0;
    int known = 64;  // bits of the key from this one on are `prefix`
    wanted -= found.before;
    while (known > 0 && found.bin.count > 1 && found.bin.mass != wanted) {
      const int shift = max(0, known - kDigitBits);
      const TokenKey mask = (TokenKey{1} << (known - shift)) - 1;
      find<kCounts>(
          outer, wanted,
          [&](float logit, TokenKey key) {
            const bool matches =
                bucket_of(logit) == cut.bucket && (known == 64 || key >> known == prefix);
            return matches ? static_cast<int>(mask - (key >> shift & mask)) : -1;
          },
          found);
      prefix = prefix << (known - shift) | (mask - static_cast<TokenKey>(found.rank));
      cut.key = prefix << shift;
      known = shift;
      wanted -= found.before;
    }
    return cut;
  }

  // Of this thread's share of the ids, in order.
  __device__ Mass mass_of_range(const Cut& cut, float least) const {
    const int64_t share = ceil_div<int64_t>(p_.vocab_size, kThreads);
    const int64_t first = thread() * share;
    Mass mass = 0;
    for_each(first, min(first + share, p_.vocab_size), 1,
             [&](int64_t id, float logit) { mass += kept_mass(cut, least, id, logit); });
    return mass;
  }
  [[nodiscard]] __device__ Mass kept_mass(const Cut& cut, float least, int64_t id,
                                          float logit) const {
    const float weight = weight_of(logit);
    return weight >= least && keeps(cut, logit, id) ? mass_of(weight) : 0;
  }

  // Inverse of the distribution function, ids in ascending order.
  __device__ int32_t draw(const Cut& cut, float least) {
    const Mass own = mass_of_range(cut, least);
    const Mass total = scan(own);
    // uniform is a whole number of 2^-53.
    const Mass target = __umul64hi(static_cast<Mass>(p_.uniform * 0x1p53) << 11, total);
    Mass sum = shared_.scan[thread()] - own;
    if (sum <= target && target < sum + own) {
      int64_t id = thread() * ceil_div<int64_t>(p_.vocab_size, kThreads);
      while ((sum += kept_mass(cut, least, id, p_.logits[id])) <= target) {
        ++id;
      }
      shared_.found.rank = static_cast<int>(id);
    }
    __syncthreads();
    return shared_.found.rank;
  }

  const DrawParams& p_;
  float scale_;
  Shared& shared_;
  float max_ = 0;
};

__global__ void __launch_bounds__(kThreads)
    draw_kernel(const __grid_constant__ DrawParams p, float scale) {
  __shared__ Shared shared;
  allow_dependents();
  wait_for_predecessors();
  const int32_t id = RowDraw(p, scale, shared).run();
  if (threadIdx.x == 0) {
    *p.id = id;
  }
}

}  // namespace

void draw(const DrawParams& p, CUstream_st* stream) {
  launch_dependent(draw_kernel, dim3(1), dim3(kThreads), 0, stream, p,
                   weight_scale(p.sampling.temperature));
}

}  // namespace lychee::sampling::cuda
