#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/kv_append.h"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumThreads = 128;

template <typename T>
__device__ void append_head(const PagedKv& kv, const int32_t* page_table, int64_t position,
                            int kv_head, int head_dim, const float* k, const float* v) {
  const int64_t to = device_kv_offset(kv, page_table, position, kv_head);
  const float k_scale = kv.k_scales == nullptr ? 1.0F : kv.k_scales[kv_head];
  const float v_scale = kv.v_scales == nullptr ? 1.0F : kv.v_scales[kv_head];
  for (int d = static_cast<int>(threadIdx.x); d < head_dim; d += kNumThreads) {
    static_cast<T*>(kv.k)[to + d] = round_to<T>(k[d] / k_scale);
    static_cast<T*>(kv.v)[to + d] = round_to<T>(v[d] / v_scale);
  }
}

// grid: (KV heads, tokens).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    kv_append_kernel(const __grid_constant__ KvAppendParams params) {
  const int kv_head = static_cast<int>(blockIdx.x);
  const int64_t token = blockIdx.y;
  const int64_t from = token * params.row_stride + int64_t{kv_head} * params.head_dim;
  append_head<T>(params.kv, params.page_table, params.first_position + token, kv_head,
                 params.head_dim, params.k + from, params.v + from);
}

// grid: (KV heads, rows).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    kv_append_rows_kernel(const __grid_constant__ KvAppendRowsParams params) {
  const int kv_head = static_cast<int>(blockIdx.x);
  const int64_t row = blockIdx.y;
  const int64_t from = row * params.row_stride + int64_t{kv_head} * params.head_dim;
  append_head<T>(params.kv, params.page_tables + row * params.page_table_stride,
                 params.kv_lens[row] - 1, kv_head, params.head_dim, params.k + from,
                 params.v + from);
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

void kv_append_rows(const KvAppendRowsParams& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.num_kv_heads), static_cast<unsigned>(params.batch));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    kv_append_rows_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

}  // namespace lychee::attention::cuda
