#include <cmath>

#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/cuda/prefill_attention/launch.h"
#include "kernels/cuda/lanes.cuh"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumWarps = 4;
constexpr int kNumThreads = kNumWarps * 32;
constexpr int kMaxHeadDim = 256;
constexpr int kDimsPerLane = kMaxHeadDim / 32;
constexpr float kLog2E = 1.44269504088896340736F;

// One query over positions 0 … last by one warp; lane l holds dimensions l, l + 32, …
template <typename T>
__device__ void attend(const PrefillAttentionParams& params, int kv_head, int64_t last,
                       const float* q, float* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int head_dim = params.head_dim;
  const float k_scale = params.kv.k_scales == nullptr ? 1.0F : params.kv.k_scales[kv_head];
  const float v_scale = params.kv.v_scales == nullptr ? 1.0F : params.kv.v_scales[kv_head];
  float query[kDimsPerLane];
  float acc[kDimsPerLane] = {};
#pragma unroll
  for (int i = 0; i < kDimsPerLane; ++i) {
    query[i] = i * 32 + lane < head_dim ? q[i * 32 + lane] : 0.0F;
  }
  float max = -INFINITY;
  float sum = 0;
  for (int64_t position = 0; position <= last; ++position) {
    const int64_t offset = device_kv_offset(params.kv, params.page_table, position, kv_head);
    float x = 0;
#pragma unroll
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = i * 32 + lane;
      x += dim < head_dim ? query[i] * to_float(static_cast<const T*>(params.kv.k)[offset + dim])
                          : 0.0F;
    }
    x = sum_over_lanes<1, 32>(x) * (k_scale * params.scale * kLog2E);
    const float new_max = fmaxf(max, x);
    const float factor = max == -INFINITY ? 0.0F : exp2_approx(max - new_max);
    const float weight = exp2_approx(x - new_max);
#pragma unroll
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = i * 32 + lane;
      acc[i] = acc[i] * factor +
               (dim < head_dim ? weight * to_float(static_cast<const T*>(params.kv.v)[offset + dim])
                               : 0.0F);
    }
    sum = sum * factor + weight;
    max = new_max;
  }
#pragma unroll
  for (int i = 0; i < kDimsPerLane; ++i) {
    if (i * 32 + lane < head_dim) {
      out[i * 32 + lane] = acc[i] / sum * v_scale;
    }
  }
}

// grid: (warps' worth of tokens, query heads).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    plain_prefill_kernel(const __grid_constant__ PrefillAttentionParams params) {
  const int head = static_cast<int>(blockIdx.y);
  const int64_t token = int64_t{blockIdx.x} * kNumWarps + threadIdx.x / 32;
  if (token >= params.num_tokens) {
    return;
  }
  attend<T>(params, head / (params.num_q_heads / params.num_kv_heads),
            params.first_position + token,
            params.q + token * params.q_row_stride + int64_t{head} * params.head_dim,
            params.out + (token * params.num_q_heads + head) * params.head_dim);
}

}  // namespace

void launch_plain_prefill(const PrefillAttentionParams& params, cudaStream_t stream) {
  require(params.head_dim <= kMaxHeadDim, ErrorCode::kUnsupported, "head_dim ", params.head_dim,
          " is above ", kMaxHeadDim, ", the largest of the CUDA backend; use --device cpu");
  const dim3 grid(static_cast<unsigned>((params.num_tokens + kNumWarps - 1) / kNumWarps),
                  static_cast<unsigned>(params.num_q_heads));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    plain_prefill_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::attention::cuda
