#include <cmath>

#include "base/math.h"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/cuda/select_tokens/select.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/page_summary.h"
#include "kernels/cuda/lanes.cuh"
#include "tensor/cuda/check.h"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumThreads = 128;
constexpr int kNumWarps = kNumThreads / 32;

// Stores the summary of one bound page of one head; a block's threads share the dimensions.
template <typename T>
__device__ void summarize_page(const PagedKv& kv, const int32_t* page_table,
                               const int32_t* summary_table, int64_t page, int64_t kv_len,
                               int kv_head, int head_dim) {
  const int64_t first = page * kBoundPageSize;
  const int count = static_cast<int>(min(int64_t{kBoundPageSize}, kv_len - first));
  // A bound page lies within one page of the cache, so its tokens are evenly spaced.
  const T* k = static_cast<const T*>(kv.k) + device_kv_offset(kv, page_table, first, kv_head);
  const int64_t to = device_kv_offset(kv, summary_table, page, kv_head);
  for (int d = static_cast<int>(threadIdx.x); d < head_dim; d += kNumThreads) {
    float low = INFINITY;
    float high = -INFINITY;
    for (int i = 0; i < count; ++i) {
      const float value = to_float(k[i * kv.token_stride + d]);
      low = fminf(low, value);
      high = fmaxf(high, value);
    }
    static_cast<T*>(kv.k)[to + d] = round_to<T>(low);  // was stored before: nothing is rounded
    static_cast<T*>(kv.v)[to + d] = round_to<T>(high);
  }
}

// grid: (bound pages of the call, KV heads).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    page_summary_kernel(const __grid_constant__ PageSummaryParams params) {
  summarize_page<T>(params.kv, params.page_table, params.summary_table,
                    params.first_page + blockIdx.x, params.kv_len, static_cast<int>(blockIdx.y),
                    params.head_dim);
}

// grid: (KV heads, rows).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    page_summary_rows_kernel(const __grid_constant__ PageSummaryRowsParams params) {
  const int kv_head = static_cast<int>(blockIdx.x);
  const int64_t row = blockIdx.y;
  if (params.active != nullptr && params.active[row * params.num_kv_heads + kv_head] == 0) {
    return;
  }
  const int64_t kv_len = params.kv_lens[row];
  summarize_page<T>(params.kv, params.page_tables + row * params.page_table_stride,
                    params.summary_tables + row * params.summary_table_stride,
                    (kv_len - 1) / kBoundPageSize, kv_len, kv_head, params.head_dim);
}

// The upper bounds of all pages, a warp to a page.
// grid: (blocks of pages, KV heads, rows).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    page_bound_kernel(const __grid_constant__ PageBoundParams params, float* bounds,
                      int64_t bounds_stride) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int kv_head = static_cast<int>(blockIdx.y);
  const int64_t row = blockIdx.z;
  const int64_t page = int64_t{blockIdx.x} * kNumWarps + threadIdx.x / 32;
  const int64_t set = row * params.num_kv_heads + kv_head;
  if (page * kBoundPageSize >= params.kv_lens[row] ||
      (params.active != nullptr && params.active[set] == 0)) {
    return;
  }
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const float* q = params.q + set * group_size * params.head_dim;
  const int64_t at = device_kv_offset(
      params.kv, params.summary_tables + row * params.summary_table_stride, page, kv_head);
  const T* k_min = static_cast<const T*>(params.kv.k) + at;
  const T* k_max = static_cast<const T*>(params.kv.v) + at;
  float bound = 0;
  for (int d = lane; d < params.head_dim; d += 32) {
    float mean = 0;
    for (int g = 0; g < group_size; ++g) {
      mean += q[g * params.head_dim + d];
    }
    mean /= static_cast<float>(group_size);
    const float low = mean * to_float(k_min[d]);
    const float high = mean * to_float(k_max[d]);
    bound += low > high ? low : high;  // NaN stays
  }
  bound = sum_over_lanes<1, 32>(bound);
  if (lane == 0) {
    const float scale = params.kv.k_scales == nullptr ? 1.0F : params.kv.k_scales[kv_head];
    bounds[set * bounds_stride + page] = bound * scale;
  }
}

int64_t page_capacity(const PageBoundParams& params) {
  return round_up<int64_t>(ceil_div<int64_t>(params.max_kv_len, kBoundPageSize), 4);
}

}  // namespace

void page_summary(const PageSummaryParams& params, cudaStream_t stream) {
  const int64_t pages = ceil_div<int64_t>(params.kv_len, kBoundPageSize) - params.first_page;
  if (pages <= 0) {
    return;
  }
  const dim3 grid(static_cast<unsigned>(pages), static_cast<unsigned>(params.num_kv_heads));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    page_summary_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

void page_summary_rows(const PageSummaryRowsParams& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.num_kv_heads), static_cast<unsigned>(params.batch));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    page_summary_rows_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

int64_t page_bound_workspace_bytes(const PageBoundParams& params) {
  return int64_t{params.batch} * params.num_kv_heads * page_capacity(params) *
         static_cast<int64_t>(sizeof(float));
}

void page_bound(const PageBoundParams& params, cudaStream_t stream) {
  const int64_t stride = page_capacity(params);
  auto* bounds = static_cast<float*>(params.workspace);
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(stride, kNumWarps)),
                  static_cast<unsigned>(params.num_kv_heads), static_cast<unsigned>(params.batch));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    page_bound_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params, bounds, stride);
  });
  cuda_check(cudaGetLastError());
  Selection selection = params.selection;
  if (selection.mode != SelectMode::kRatio) {
    selection.mode = SelectMode::kBlock;  // whatever tokens are selected by elsewhere
  }
  select_units({.num_rows = params.batch * params.num_kv_heads,
                .scores = bounds,
                .scores_stride = stride,
                .kv_lens = params.kv_lens,
                .selection = selection,
                .scale = 1,
                .token_ids = params.token_ids,
                .token_ids_stride = params.token_ids_stride,
                .num_ids = params.num_ids,
                .workspace = nullptr,
                .active = params.active,
                .rows_per_kv_len = params.num_kv_heads},
               {kBoundPageSize, true}, stream);
}

}  // namespace lychee::attention::cuda
