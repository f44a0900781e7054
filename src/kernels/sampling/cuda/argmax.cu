#include <cstdint>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/sampling/sample.h"

namespace lychee::sampling::cuda {
namespace {

constexpr int kThreads = 512;
constexpr unsigned kBlocks = 32;  // a row's

using Key = unsigned long long;

struct RowState {
  Key best;         // the largest key so far
  int num_arrived;  // blocks that have added theirs
  int unused;
};

// Larger for a larger logit, and for the lower id among equals; 0 for NaN.
__device__ Key key_of(float logit, int64_t id) {
  if (isnan(logit)) {
    return 0;
  }
  const uint32_t bits = __float_as_uint(logit == 0 ? 0.0F : logit);  // -0 equals 0
  const uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return Key{ordered} << 32 | (0xffffffffU - static_cast<uint32_t>(id));
}

__device__ Key larger(Key a, Key b) {
  return a > b ? a : b;
}

// grid: (kBlocks, rows). The last block of a row to arrive writes the result.
__global__ void __launch_bounds__(kThreads) argmax_kernel(const __grid_constant__ ArgmaxParams p) {
  __shared__ Key warps[kThreads / kWarpSize];
  allow_dependents();
  wait_for_predecessors();
  const float* logits = p.logits + blockIdx.y * p.logits_stride;
  Key best = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < p.vocab_size;
       i += int64_t{kBlocks} * kThreads) {
    best = larger(best, key_of(logits[i], i));
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
  for (const Key other : warps) {
    best = larger(best, other);
  }
  RowState& state = static_cast<RowState*>(p.workspace)[blockIdx.y];
  atomicMax(&state.best, best);
  __threadfence();
  if (atomicAdd(&state.num_arrived, 1) != kBlocks - 1) {
    return;
  }
  __threadfence();
  const Key winner = atomicExch(&state.best, Key{0});
  state.num_arrived = 0;
  p.ids[blockIdx.y] = winner == 0 ? 0 : static_cast<int32_t>(0xffffffffU - (winner & 0xffffffffU));
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
