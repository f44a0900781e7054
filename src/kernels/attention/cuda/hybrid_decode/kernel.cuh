#pragma once

#include "kernels/attention/cuda/hybrid_decode/compute.cuh"
#include "kernels/attention/cuda/hybrid_decode/dispatcher.cuh"
#include "kernels/attention/cuda/hybrid_decode/loader.cuh"
#include "kernels/attention/cuda/hybrid_decode/workspace.h"
#include "kernels/cuda/warpgroup.cuh"

namespace lychee::attention::cuda {

// Asks for what the block will soon want of small inputs that are scattered over memory: pages,
// token ids, queries. Then the chain from a length to the first row of K waits once for memory and
// else for the cache. Earlier kernels may still be writing some of it: nothing is read here.
template <typename Traits>
__device__ void prefetch_inputs(const HybridDecodeParams& params) {
  constexpr int kLine = 32;  // int32s and floats of a cache line
  const int64_t thread = int64_t{blockIdx.x} * Traits::kComputeThreads + threadIdx.x;
  const int64_t items = int64_t{params.batch} * params.num_kv_heads;
  const int64_t page_lines = (params.batch * params.page_table_stride + kLine - 1) / kLine;
  if (thread < page_lines) {
    prefetch_to_l2(params.page_tables + thread * kLine);
  }
  const int64_t query_lines = int64_t{params.batch} * params.num_q_heads * params.head_dim / kLine;
  if (thread < query_lines) {
    prefetch_to_l2(params.q + thread * kLine);
  }
  const int64_t set_lines = (params.token_ids_stride + kLine - 1) / kLine;
  if (thread < items * set_lines) {
    const int set = params.set_of_head[thread / set_lines];
    if (set != HybridDecodeParams::kDense) {
      prefetch_to_l2(params.num_ids + set);
      prefetch_to_l2(params.token_ids + set * params.token_ids_stride + thread % set_lines * kLine);
    }
  }
}

// By one lane of each of three warps.
template <typename Traits>
__device__ void init_all_barriers(typename Traits::SharedStorage& smem) {
  constexpr int kComputers = Traits::kNumComputers * kWarpArrivals;
  switch (threadIdx.x) {
    case 0:
      init_barriers(smem.filled, 32);
      break;
    case 32:
      init_barriers(smem.emptied, kWarpArrivals);
      break;
    case 64:
      init_barriers(smem.given, 32 + 1);
      init_barriers(smem.done, kComputers);
      init_barrier(smem.merged, kComputers);
      break;
    default:
      break;
  }
}

// grid: one block a multiprocessor. Each block walks its ranges (split.cuh): loader warps fill a
// ring of tiles, computing warps empty it, and a dispatcher tells them what each range is.
//
// A dependent launch (dependent_launch.cuh), whose block begins to load while earlier kernels run,
// and which lets the next kernel begin where blocks have ended, when the loaders of all have asked
// for all. Until earlier kernels have ended it reads kv_lens, page_tables, set_of_head,
// emit_scores, scales, token_ids and num_ids if sets_are_early, and rows of K and V but for the
// newest token's. So a kernel that writes one of them must have ended before the kernel launched
// just before this one lets dependents start: that one may append the row's newest token, and no
// other.
template <typename Traits>
__global__ void __launch_bounds__(Traits::kNumThreads, 1)
    hybrid_decode_kernel(const __grid_constant__ HybridDecodeParams params,
                         const __grid_constant__ DecodeWorkspace workspace) {
  extern __shared__ unsigned char raw_smem[];
  auto& smem = *reinterpret_cast<typename Traits::SharedStorage*>(raw_smem);
  init_all_barriers<Traits>(smem);
  __syncthreads();
  const int warp = static_cast<int>(threadIdx.x / 32);
  if (warp < Traits::kNumComputers) {
    take_registers<Traits::kComputerRegisters>();
    prefetch_inputs<Traits>(params);
    wait_for_predecessors();
    Computer<Traits>(params, workspace, smem).run();
    return;
  }
  give_registers<Traits::kLoaderRegisters>();
  if (warp < Traits::kNumComputers + Traits::kNumLoaders) {
    // From a lane's register, so that the compiler knows it to be the warp's.
    const int loader = __shfl_sync(kAllLanes, warp - Traits::kNumComputers, 0);
    TileLoader<Traits>(params, workspace.max_parts, loader, smem).run();
  } else {
    Dispatcher<Traits>(params, workspace.max_parts, smem).run();
  }
}

}  // namespace lychee::attention::cuda
