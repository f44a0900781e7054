#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/cuda/select_tokens/cut.cuh"
#include "kernels/attention/cuda/select_tokens/select.h"
#include "kernels/attention/params.h"
#include "kernels/cuda/async_copy.cuh"

namespace lychee::attention::cuda {

struct SelectStorage {
  CutStorage cut;
  int num_taken;               // by this block
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

  __device__ SelectRow(const SelectTokensParams& params, const SelectUnits& units, int row) {
    const Selection& selection = params.selection;
    scores = params.scores + int64_t{row} * params.scores_stride;
    kv_len = params.kv_lens[row / params.rows_per_kv_len];
    budget = selection.budget;
    if (selection.mode == SelectMode::kRatio) {
      const auto share = static_cast<int64_t>(ceil(selection.ratio * static_cast<double>(kv_len)));
      budget = max(int64_t{selection.sink} + selection.recent, share);
    }
    if (selection.mode != SelectMode::kBlock && !units.scored) {
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
    wanted = static_cast<int>(
        min(max(budget / unit_size - num_forced, int64_t{0}), int64_t{end_free - first_free}));
  }

  // The score of a candidate: its own, or its best token's. NaN counts as -inf.
  [[nodiscard]] __device__ float value(int position) const {
    if (scored) {
      return __ldg(scores + position);
    }
    float best = -INFINITY;
    const auto* tokens = scores + int64_t{position} * unit_size;
#pragma unroll 1
    for (int i = 0; i < unit_size; ++i) {
      const float score = __ldg(tokens + i);
      best = score > best ? score : best;
    }
    return best;
  }
};

// This block's candidates [begin, end), from shared memory where they fit.
struct CandidateValues {
  SelectRow row;
  const float* cached;
  int begin;
  int end;
  int num_cached;

  // Starts to fill the cache; wait_for_copies<0>() and a barrier of the block end it.
  __device__ void fill(float* cache) const {
    const auto first = static_cast<int>(threadIdx.x);
    if (row.scored) {
      const float* scores = row.scores + begin;
      const int whole = reinterpret_cast<uintptr_t>(scores) % 16 == 0 ? num_cached / 4 * 4 : 0;
#pragma unroll 4
      for (int i = first * 4; i < whole; i += kSelectThreads * 4) {
        copy_async_16(shared_address(cache + i), scores + i, true);
      }
#pragma unroll 1
      for (int i = whole + first; i < num_cached; i += kSelectThreads) {
        copy_async_4(shared_address(cache + i), scores + i);
      }
      commit_copies();
      return;
    }
#pragma unroll 1
    for (int i = first; i < num_cached; i += kSelectThreads) {
      cache[i] = row.value(begin + i);
    }
  }
  [[nodiscard]] __device__ float operator()(int position) const {
    const int i = position - begin;
    return i < num_cached ? cached[i] : row.value(position);
  }
  // The four from begin + i on, i a multiple of 4; past the end, anything.
  [[nodiscard]] __device__ float4 four(int i) const {
    if (i + 3 < num_cached) {
      return *reinterpret_cast<const float4*>(cached + i);
    }
    const int last = end - begin - 1;
    return {(*this)(begin + min(i, last)), (*this)(begin + min(i + 1, last)),
            (*this)(begin + min(i + 2, last)), (*this)(begin + min(i + 3, last))};
  }
  // Calls fn(value, position) for this thread's share, in any order.
  template <typename Fn>
  __device__ void for_each(const Fn& fn) const {
    const int whole = num_cached / 4 * 4;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x) * 4; i < whole; i += kSelectThreads * 4) {
      const float4 values = *reinterpret_cast<const float4*>(cached + i);
      fn(values.x, begin + i);
      fn(values.y, begin + i + 1);
      fn(values.z, begin + i + 2);
      fn(values.w, begin + i + 3);
    }
#pragma unroll 1
    for (int at = begin + whole + static_cast<int>(threadIdx.x); at < end; at += kSelectThreads) {
      fn((*this)(at), at);
    }
  }
};

}  // namespace lychee::attention::cuda
