#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/select_tokens/cut.cuh"
#include "kernels/attention/cuda/select_tokens/select.h"
#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

struct SelectStorage {
  CutStorage cut;
  int num_taken;
  alignas(16) float values[];  // this block's candidates, as many as the launch made room for
};

// One row's candidates: tokens, or blocks of tokens in kBlock, that no rule forces into the set.
struct SelectRow {
  const float* scores;
  int64_t kv_len;
  int64_t budget;  // tokens
  int first_free;  // candidate positions [first_free, end_free)
  int end_free;
  int wanted;     // of them
  int unit_size;  // tokens a candidate stands for
  bool scored;    // as a whole

  __device__ SelectRow(const SelectTokensParams& params, const SelectUnits& units, int64_t row) {
    const Selection& selection = params.selection;
    scores = params.scores + row * params.scores_stride;
    kv_len = params.kv_lens[row / params.rows_per_kv_len];
    budget = selection.budget;
    if (selection.mode == SelectMode::kRatio) {
      const auto share = static_cast<int64_t>(ceil(selection.ratio * static_cast<double>(kv_len)));
      budget = max(int64_t{selection.sink} + selection.recent, share);
    }
    if (selection.mode != SelectMode::kBlock) {
      unit_size = 1;
      scored = true;
      first_free = selection.sink;
      end_free = static_cast<int>(kv_len - selection.recent);
      wanted = static_cast<int>(budget - selection.sink - selection.recent);
      return;
    }
    unit_size = units.size;
    scored = units.scored;
    const int num_units = static_cast<int>((kv_len + unit_size - 1) / unit_size);
    first_free = (selection.sink + unit_size - 1) / unit_size;
    end_free = max(first_free, static_cast<int>((kv_len - selection.recent) / unit_size));
    const int num_forced = num_units - (end_free - first_free);
    wanted = min(max(selection.budget / unit_size - num_forced, 0), end_free - first_free);
  }

  // The score of a candidate: its own, or its best token's. NaN counts as -inf.
  [[nodiscard]] __device__ float value(int position) const {
    if (scored) {
      return __ldg(scores + position);
    }
    float best = -INFINITY;
    const auto* tokens = scores + int64_t{position} * unit_size;
    for (int i = 0; i < unit_size; ++i) {
      const float score = __ldg(tokens + i);
      best = score > best ? score : best;
    }
    return best;
  }
};

// This block's candidates, from shared memory where they fit.
struct CandidateValues {
  const SelectRow& row;
  const float* cached;
  int begin;
  int num_cached;

  [[nodiscard]] __device__ float operator()(int position) const {
    const int i = position - begin;
    return i < num_cached ? cached[i] : row.value(position);
  }
};

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
    storage.scratch_floats[0][threadIdx.x / 32] = max;
  }
  __syncthreads();
  max = max_over_lanes<1, 32>(storage.scratch_floats[0][threadIdx.x % 32]);
  if (threadIdx.x == 0) {
    storage.range[1] = max;
  }
  Cluster<kCluster>::sync();
  for (int rank = 0; rank < kCluster; ++rank) {
    max = fmaxf(max, Cluster<kCluster>::peer(&storage.range[0], rank)[1]);
  }
  Shares shares{double{scale}, double{max}, 0};
  double sum = 0;
  for (int64_t i = first; i < row.kv_len; i += kCluster * kSelectThreads) {
    sum += shares.weight(row.scores[i]);
  }
  shares.sum = finder.sum(sum);
  return shares;
}

// Moves the cut up to the token with which the mass of the set reaches `mass`.
template <int kCluster, typename Finder, typename ValueAt>
__device__ void cut_by_mass(const SelectTokensParams& params, const SelectRow& row,
                            const Shares& shares, const ValueAt& value_at, int begin, int end,
                            Finder& finder, CutStorage& storage) {
  const Cut top = storage.cut;
  double own = 0;
  for (int64_t i = int64_t{Cluster<kCluster>::rank()} * kSelectThreads + threadIdx.x;
       i < row.kv_len; i += kCluster * kSelectThreads) {
    own += i < row.first_free || i >= row.end_free ? shares.share(row.scores[i]) : 0.0;
  }
  const double forced = finder.sum(own);
  const double mass = params.selection.mass;
  const auto mass_from = [&](uint32_t key) {
    double taken = 0;
    for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kSelectThreads) {
      const float value = value_at(i);
      const uint32_t candidate = score_key(value);
      taken += candidate >= key && top.takes(candidate, i) ? shares.share(value) : 0.0;
    }
    return forced + finder.sum(taken);
  };
  if (forced >= mass) {
    storage.cut = {~uint32_t{0}, -1};  // above the key of +inf: takes nothing
  } else if (mass_from(0) >= mass) {
    uint32_t key = 0;
    for (uint32_t bit = 1U << 31; bit > 0; bit >>= 1) {
      key = mass_from(key | bit) >= mass ? key | bit : key;
    }
    double reached = mass_from(key + 1);
    constexpr uint32_t kSign = 0x80000000;
    const float value =
        __uint_as_float(key >= kSign ? key - kSign : kSign | (kSign - key));  // undoes score_key
    int ties = 0;
    for (; reached < mass && ties < row.wanted; ++ties) {
      reached += shares.share(value);
    }
    finder.find_tie(key, max(ties, 1));
  }
  __syncthreads();
}

__device__ inline void append_range(int64_t first, int64_t end, int32_t* ids) {
  for (int64_t i = first + threadIdx.x; i < end; i += kSelectThreads) {
    ids[i - first] = static_cast<int32_t>(i);
  }
}

// Writes the row's set, ascending: forced ones below, what `takes(value, position)`, forced above.
template <int kCluster, typename ValueAt, typename Takes>
__device__ void write_set(const SelectTokensParams& params, int64_t row_id, const SelectRow& row,
                          const ValueAt& value_at, int begin, int end, const Takes& takes,
                          SelectStorage& storage) {
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int per_warp = (end - begin + kSelectThreads - 1) / kSelectThreads * 32;
  const int first = begin + warp * per_warp;
  const int last = min(first + per_warp, end);
  const auto taken_at = [&](int i) {
    return __ballot_sync(kAllLanes, i + lane < last && takes(value_at(i + lane), i + lane));
  };
  int count = 0;
  for (int i = first; i < last; i += 32) {
    count += __popc(taken_at(i));
  }
  int total = 0;
  int offset = block_exclusive_sum(lane == 0 ? count : 0, storage.cut.scratch, total);
  offset = __shfl_sync(kAllLanes, offset, 0);
  if (threadIdx.x == 0) {
    storage.num_taken = total;
  }
  Cluster<kCluster>::sync();
  int all = 0;
  for (int rank = 0; rank < kCluster; ++rank) {
    const int taken = *Cluster<kCluster>::peer(&storage.num_taken, rank);
    offset += rank < Cluster<kCluster>::rank() ? taken : 0;
    all += taken;
  }
  int32_t* ids = params.token_ids + row_id * params.token_ids_stride;
  const int64_t below = int64_t{row.first_free} * row.unit_size;
  const int64_t above = int64_t{row.end_free} * row.unit_size;
  for (int i = first; i < last; i += 32) {
    const uint32_t taken = taken_at(i);
    if ((taken >> lane & 1) != 0) {
      const int at = offset + __popc(taken & ((1U << lane) - 1));
      for (int j = 0; j < row.unit_size; ++j) {
        ids[below + int64_t{at} * row.unit_size + j] = (i + lane) * row.unit_size + j;
      }
    }
    offset += __popc(taken);
  }
  const int64_t num_below = below + int64_t{all} * row.unit_size;
  if (Cluster<kCluster>::rank() == 0) {
    append_range(0, below, ids);
  }
  if (Cluster<kCluster>::rank() == kCluster - 1) {
    append_range(above, row.kv_len, ids + num_below);
    if (threadIdx.x == 0) {
      params.num_ids[row_id] = static_cast<int32_t>(num_below + row.kv_len - above);
    }
  }
}

// grid: kCluster blocks a row, each with an equal range of the row's candidates.
template <int kCluster>
__global__ void __launch_bounds__(kSelectThreads, 1)
    select_tokens_kernel(const __grid_constant__ SelectTokensParams params,
                         const __grid_constant__ SelectUnits units, int max_cached) {
  extern __shared__ __align__(16) unsigned char raw_smem[];
  auto& storage = *reinterpret_cast<SelectStorage*>(raw_smem);
  const int64_t row_id = blockIdx.x / kCluster;
  if (params.active != nullptr && params.active[row_id] == 0) {
    return;
  }
  const SelectRow row(params, units, row_id);
  if (row.kv_len <= row.budget) {
    if (Cluster<kCluster>::rank() == 0) {
      append_range(0, row.kv_len, params.token_ids + row_id * params.token_ids_stride);
      if (threadIdx.x == 0) {
        params.num_ids[row_id] = static_cast<int32_t>(row.kv_len);
      }
    }
    return;
  }
  const int num_candidates = row.end_free - row.first_free;
  const int per_block = (num_candidates + kCluster - 1) / kCluster;
  const int begin = min(row.first_free + Cluster<kCluster>::rank() * per_block, row.end_free);
  const int end = min(begin + per_block, row.end_free);
  const CandidateValues value_at{row, storage.values, begin, min(max_cached, end - begin)};
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < value_at.num_cached; i += kSelectThreads) {
    storage.values[i] = row.value(begin + i);
  }
  CutFinder<kCluster, CandidateValues> finder(storage.cut, value_at, begin, end);
  if (threadIdx.x == 0) {  // takes all; or nothing
    storage.cut.cut = row.wanted > 0 ? Cut{0, row.end_free} : Cut{~uint32_t{0}, -1};
  }
  __syncthreads();
  if (row.wanted > 0 && row.wanted < num_candidates) {
    [[maybe_unused]] const Cut cut = finder.find(row.wanted);
  }
  Shares shares{0, 0, 1};
  const SelectMode mode = params.selection.mode;
  if (mode == SelectMode::kMass || mode == SelectMode::kThreshold) {
    Cluster<kCluster>::sync();
    shares = make_shares<kCluster>(row, params.scale, finder, storage.cut);
  }
  if (mode == SelectMode::kMass && row.wanted > 0) {
    cut_by_mass<kCluster>(params, row, shares, value_at, begin, end, finder, storage.cut);
  }
  const Cut cut = storage.cut.cut;
  write_set<kCluster>(
      params, row_id, row, value_at, begin, end,
      [&](float value, int position) {
        return cut.takes(score_key(value), position) &&
               (mode != SelectMode::kThreshold ||
                shares.share(value) >= params.selection.threshold);
      },
      storage);
  Cluster<kCluster>::sync();  // nobody may leave while others read its shared memory
}

}  // namespace lychee::attention::cuda
