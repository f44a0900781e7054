#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/select_tokens/candidates.cuh"
#include "kernels/attention/cuda/select_tokens/cut.cuh"
#include "kernels/attention/params.h"
#include "kernels/cuda/float_key.cuh"

namespace lychee::attention::cuda {

// Softmax shares of a row's tokens, in double over all of them. Where the formula is ∞ - ∞ its
// limit is used: equal shares of the tokens at the maximum.
struct Shares {
  double scale;
  double max;
  double sum;

  [[nodiscard]] __device__ double weight(float score) const {
    const double value = isnan(score) ? -INFINITY : double{score};
    return value == max ? 1.0 : exp((value - max) * scale);
  }
  [[nodiscard]] __device__ double share(float score) const { return weight(score) / sum; }
};

template <int kCluster, typename Finder>
[[nodiscard]] __device__ Shares make_shares(const SelectRow& row, float scale, Finder& finder,
                                            CutStorage& storage) {
  const int64_t first = int64_t{Cluster<kCluster>::rank()} * kSelectThreads + threadIdx.x;
  float max = -INFINITY;
  for (int64_t i = first; i < row.kv_len; i += kCluster * kSelectThreads) {
    const float score = row.scores[i];
    max = score > max ? score : max;
  }
  max = max_over_lanes<1, 32>(max);
  if (threadIdx.x % 32 == 0) {
    storage.scratch_floats[threadIdx.x / 32] = max;
  }
  __syncthreads();
  max = max_over_lanes<1, 32>(storage.scratch_floats[threadIdx.x % 32]);
  if (threadIdx.x == 0) {
    storage.max = max;
  }
  Cluster<kCluster>::sync();
  for (int rank = 0; rank < kCluster; ++rank) {
    max = fmaxf(max, *Cluster<kCluster>::peer(&storage.max, rank));
  }
  Shares shares{double{scale}, double{max}, 0};
  double sum = 0;
  for (int64_t i = first; i < row.kv_len; i += kCluster * kSelectThreads) {
    sum += shares.weight(row.scores[i]);
  }
  shares.sum = finder.sum(sum);
  return shares;
}

// Moves the cut up to the token with which the mass of the set reaches `mass`, which is when no
// more than the others may have is left. That sum is exact where the others weigh nothing or alike,
// so that a mass of 1 is reached at the same token on every backend.
template <int kCluster, typename Finder, typename ValueAt>
__device__ void cut_by_mass(const SelectTokensParams& params, const Shares& shares,
                            const ValueAt& value_at, int begin, int end, Finder& finder,
                            CutStorage& storage) {
  const Cut top = storage.cut;
  const double allowed = (1 - params.selection.mass) * shares.sum;
  // What `measure` finds in the candidates that a cut at `key` takes, or in the others.
  const auto sum_of = [&](uint32_t key, bool taken, const auto& measure) {
    double sum = 0;
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kSelectThreads) {
      const float value = value_at(i);
      const uint32_t candidate = float_key(value);
      sum +=
          (candidate >= key && top.takes(candidate, i)) == taken ? measure(value, candidate) : 0.0;
    }
    return finder.sum(sum);
  };
  const auto rest_at = [&](uint32_t key) {
    return sum_of(key, false, [&](float value, uint32_t) { return shares.weight(value); });
  };
  constexpr uint32_t kNothing = ~uint32_t{0};  // above the key of +inf
  if (rest_at(kNothing) <= allowed) {
    storage.cut = {kNothing, -1};
  } else if (rest_at(0) <= allowed) {
    uint32_t key = 0;
    for (uint32_t bit = 1U << 31; bit > 0; bit >>= 1) {
      key = rest_at(key | bit) <= allowed ? key | bit : key;
    }
    const double lower = rest_at(key);
    const double weight = shares.weight(float_of_key(key));
    const auto num_ties = static_cast<int>(
        sum_of(key, true, [&](float, uint32_t candidate) { return candidate == key ? 1.0 : 0.0; }));
    int ties = 1;
    while (ties < num_ties && lower + (num_ties - ties) * weight > allowed) {
      ++ties;
    }
    finder.find_tie(key, ties);
  }
  __syncthreads();
}

// Softmax shares, and in kMass the cut by them: a function of its own, so that what the other modes
// run stays short.
template <int kCluster>
[[nodiscard]] __noinline__ __device__ Shares cut_by_shares(const SelectTokensParams& params,
                                                           CandidateValues values,
                                                           CutStorage& storage) {
  Cluster<kCluster>::sync();
  CutFinder<kCluster, CandidateValues> finder(storage, values, values.begin, values.end);
  const Shares shares = make_shares<kCluster>(values.row, params.scale, finder, storage);
  if (params.selection.mode == SelectMode::kMass && values.row.wanted > 0) {
    cut_by_mass<kCluster>(params, shares, values, values.begin, values.end, finder, storage);
  }
  return shares;
}

}  // namespace lychee::attention::cuda
