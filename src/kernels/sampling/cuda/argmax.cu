#include <cstdint>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/sampling/cuda/token_key.cuh"
#include "kernels/sampling/sample.h"

namespace lychee::sampling::cuda {
namespace {

constexpr int kThreads = 512;
constexpr unsigned kBlocks = 32;  // a row's

struct RowState {
  TokenKey best;    // the largest key so far
  int num_arrived;  // blocks that have added theirs
  int unused;
};

__device__ TokenKey larger(TokenKey a, TokenKey b) {
  return a > b ? a : b;
}

// grid: (kBlocks, rows). The last block of a row to arrive writes the result.
__global__ void __launch_bounds__(kThreads) argmax_kernel(const __grid_constant__ ArgmaxParams p) {
  __shared__ TokenKey warps[kThreads / kWarpSize];
  allow_dependents();
  wait_for_predecessors();
  const float* logits = p.logits + blockIdx.y * p.logits_stride;
  TokenKey best = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < p.vocab_size;
       i += int64_t{kBlocks} * kThreads) {
    best = larger(best, token_key(logits[i], i));
  }
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    best = larger(best, __shfl_xor_sync(0xffffffff, best, mask));
  }
  if (threadIdx.x % kWarpSize == 0) {
    warps[threadIdx.x / kWarpSize] = best;
  }
  __syncthreads();
  if (threadIdx.x != 0) {
    return;
  }
  for (const TokenKey other : warps) {
    best = larger(best, other);
  }
  RowState& state = static_cast<RowState*>(p.workspace)[blockIdx.y];
  atomicMax(&state.best, best);
  __threadfence();
  if (atomicAdd(&state.num_arrived, 1) != kBlocks - 1) {
    return;
  }
  __threadfence();
  const TokenKey winner = atomicExch(&state.best, TokenKey{0});
  state.num_arrived = 0;
  p.ids[blockIdx.y] = winner == 0 ? 0 : id_of(winner);
}

}  // namespace

int64_t argmax_workspace_bytes(int64_t num_rows) {
  return num_rows * int64_t{sizeof(RowState)};
}

void argmax(const ArgmaxParams& p, CUstream_st* stream) {
  launch_dependent(argmax_kernel, dim3(kBlocks, static_cast<unsigned>(p.num_rows)), dim3(kThreads),
                   0, stream, p);
}

}  // namespace lychee::sampling::cuda
