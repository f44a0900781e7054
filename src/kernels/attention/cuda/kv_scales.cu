#include "kernels/attention/kv_scales.h"
#include "kernels/cuda/lanes.cuh"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumThreads = 512;
constexpr int kNumWarps = kNumThreads / 32;

// grid: (KV heads, K or V). Runs once in the life of a cache.
__global__ void __launch_bounds__(kNumThreads)
    kv_scales_kernel(const __grid_constant__ KvScalesParams params) {
  __shared__ float warp_max[kNumWarps];
  const int64_t kv_head = blockIdx.x;
  const float* values = (blockIdx.y == 0 ? params.k : params.v) + kv_head * params.head_dim;
  const int64_t count = int64_t{params.num_tokens} * params.head_dim;
  float max_abs = 0;
  for (int64_t i = threadIdx.x; i < count; i += kNumThreads) {
    const int64_t token = i / params.head_dim;
    max_abs = fmaxf(max_abs,  // NaN is passed over
                    fabsf(values[token * params.row_stride + i % params.head_dim]));
  }
  max_abs = max_over_lanes<1, 32>(max_abs);
  if (threadIdx.x % 32 == 0) {
    warp_max[threadIdx.x / 32] = max_abs;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (const float other : warp_max) {
      max_abs = fmaxf(max_abs, other);
    }
    (blockIdx.y == 0 ? params.k_scales : params.v_scales)[kv_head] = fp8_kv_scale(max_abs);
  }
}

}  // namespace

void kv_scales(const KvScalesParams& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.num_kv_heads), 2);
  kv_scales_kernel<<<grid, kNumThreads, 0, stream>>>(params);
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::attention::cuda
