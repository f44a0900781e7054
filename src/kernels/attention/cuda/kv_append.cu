#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/kv_append.h"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumThreads = 128;

// grid: (KV heads, tokens).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    kv_append_kernel(const __grid_constant__ KvAppendParams params) {
  const PagedKv& kv = params.kv;
  const int kv_head = static_cast<int>(blockIdx.x);
  const int64_t token = blockIdx.y;
  const int64_t from = token * params.row_stride + int64_t{kv_head} * params.head_dim;
  const int64_t to =
      device_kv_offset(kv, params.page_table, params.first_position + token, kv_head);
  const float k_scale = kv.k_scales == nullptr ? 1.0F : kv.k_scales[kv_head];
  const float v_scale = kv.v_scales == nullptr ? 1.0F : kv.v_scales[kv_head];
  for (int d = static_cast<int>(threadIdx.x); d < params.head_dim; d += kNumThreads) {
    static_cast<T*>(kv.k)[to + d] = round_to<T>(params.k[from + d] / k_scale);
    static_cast<T*>(kv.v)[to + d] = round_to<T>(params.v[from + d] / v_scale);
  }
}

}  // namespace

void kv_append(const KvAppendParams& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.num_kv_heads),
                  static_cast<unsigned>(params.num_tokens));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    kv_append_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::attention::cuda
