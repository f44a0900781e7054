#pragma once

#include <cstdint>

#include "kernels/attention/cuda/select_tokens/candidates.cuh"
#include "kernels/attention/cuda/select_tokens/cut.cuh"
#include "kernels/attention/cuda/select_tokens/select.h"
#include "kernels/attention/cuda/select_tokens/shares.cuh"
#include "kernels/attention/cuda/select_tokens/write_set.cuh"
#include "kernels/attention/params.h"
#include "kernels/cuda/async_copy.cuh"

namespace lychee::attention::cuda {

// grid: kCluster blocks a row, each with an equal range of the row's candidates.
template <int kCluster>
__global__ void __launch_bounds__(kSelectThreads, 1)
    select_tokens_kernel(const __grid_constant__ SelectTokensParams params,
                         const __grid_constant__ SelectUnits units, int max_cached) {
  extern __shared__ __align__(16) unsigned char raw_smem[];
  auto& storage = *reinterpret_cast<SelectStorage*>(raw_smem);
  const int row_id = static_cast<int>(blockIdx.x / kCluster);
  const SelectRow row(params, units, row_id);
  if (params.active != nullptr && params.active[row_id] == 0) {
    return;
  }
  if (row.kv_len <= row.budget) {
    if (Cluster<kCluster>::rank() == 0) {
      write_all(params, row_id, row.kv_len);
    }
    return;
  }
  const int num_candidates = row.end_free - row.first_free;
  // Multiples of four, so that a block's scores are as aligned as its neighbour's.
  const int per_block = (num_candidates + kCluster * 4 - 1) / (kCluster * 4) * 4;
  const int begin = min(row.first_free + Cluster<kCluster>::rank() * per_block, row.end_free);
  const int end = min(begin + per_block, row.end_free);
  const CandidateValues values{row, storage.values, begin, end, min(max_cached, end - begin)};
  values.fill(storage.values);
  CutFinder<kCluster, CandidateValues> finder(storage.cut, values, begin, end);
  finder.clear();
  if (threadIdx.x == 0) {  // takes all; or nothing
    storage.cut.cut = row.wanted > 0 ? Cut{0, row.end_free} : Cut{~uint32_t{0}, -1};
  }
  wait_for_copies<0>();
  __syncthreads();
  if (row.wanted > 0 && row.wanted < num_candidates) {
    [[maybe_unused]] const Cut cut = finder.find(row.wanted);
  }
  Shares shares{0, 0, 1};
  const SelectMode mode = params.selection.mode;
  TakenCounts counts{storage.cut.num_before, row.wanted};
  if (mode == SelectMode::kMass || mode == SelectMode::kThreshold) {
    shares = cut_by_shares<kCluster>(params, values, storage.cut);
    counts.before = -1;
  }
  const AboveCut above_cut(storage.cut.cut);
  if (mode == SelectMode::kThreshold) {
    write_set<kCluster>(params, row_id, row, values,
                        AboveThreshold{above_cut, params.selection.threshold, shares}, counts,
                        storage);
  } else {
    write_set<kCluster>(params, row_id, row, values, above_cut, counts, storage);
  }
}

}  // namespace lychee::attention::cuda
