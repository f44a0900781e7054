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

// grid: (KV heads, bound pages of the call).
template <typename T>
__global__ void __launch_bounds__(kNumThreads)
    page_summary_kernel(const __grid_constant__ PageSummaryParams params) {
  const int64_t kv_len = params.device_kv_len == nullptr ? params.kv_len : *params.device_kv_len;
  const int64_t page = params.device_kv_len == nullptr ? params.first_page + blockIdx.y
                                                       : (kv_len - 1) / kBoundPageSize;
  const int kv_head = static_cast<int>(blockIdx.x);
  const int64_t end = min((page + 1) * kBoundPageSize, kv_len);
  const float scale = params.kv.k_scales == nullptr ? 1.0F : params.kv.k_scales[kv_head];
  for (int d = static_cast<int>(threadIdx.x); d < params.head_dim; d += kNumThreads) {
    float low = INFINITY;
    float high = -INFINITY;
    for (int64_t position = page * kBoundPageSize; position < end; ++position) {
      const int64_t offset = device_kv_offset(params.kv, params.page_table, position, kv_head);
      const float k = to_float(static_cast<const T*>(params.kv.k)[offset + d]) * scale;
      low = fminf(low, k);
      high = fmaxf(high, k);
    }
    const int64_t to = (page * params.num_kv_heads + kv_head) * params.head_dim + d;
    params.k_min[to] = low;
    params.k_max[to] = high;
  }
}

// The upper bounds of all pages, and the length where the selection looks for it.
// grid: (warps' worth of pages, KV heads).
__global__ void __launch_bounds__(kNumThreads)
    page_bound_kernel(const __grid_constant__ PageBoundParams params, float* bounds,
                      int64_t bounds_stride, int64_t* kv_len_out) {
  const int64_t kv_len = params.device_kv_len == nullptr ? params.kv_len : *params.device_kv_len;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int kv_head = static_cast<int>(blockIdx.y);
  const int64_t page = int64_t{blockIdx.x} * (kNumThreads / 32) + threadIdx.x / 32;
  if (page == 0 && kv_head == 0 && lane == 0) {
    *kv_len_out = kv_len;
  }
  if (page * kBoundPageSize >= kv_len) {
    return;
  }
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const float* q = params.q + int64_t{kv_head} * group_size * params.head_dim;
  const int64_t at = (page * params.num_kv_heads + kv_head) * params.head_dim;
  float bound = 0;
  for (int d = lane; d < params.head_dim; d += 32) {
    float mean = 0;
    for (int g = 0; g < group_size; ++g) {
      mean += q[g * params.head_dim + d];
    }
    mean /= static_cast<float>(group_size);
    const float low = mean * params.k_min[at + d];
    const float high = mean * params.k_max[at + d];
    bound += low > high ? low : high;  // NaN stays
  }
  bound = sum_over_lanes<1, 32>(bound);
  if (lane == 0) {
    bounds[kv_head * bounds_stride + page] = bound;
  }
}

int64_t page_capacity(const PageBoundParams& params) {
  return round_up<int64_t>(ceil_div<int64_t>(params.kv_len, kBoundPageSize), 4);
}

}  // namespace

void page_summary(const PageSummaryParams& params, cudaStream_t stream) {
  const int64_t pages = params.device_kv_len != nullptr
                            ? 1
                            : ceil_div<int64_t>(params.kv_len, kBoundPageSize) - params.first_page;
  if (pages <= 0) {
    return;
  }
  const dim3 grid(static_cast<unsigned>(params.num_kv_heads), static_cast<unsigned>(pages));
  dispatch_kv_dtype(params.kv.dtype, [&](auto element) {
    page_summary_kernel<decltype(element)><<<grid, kNumThreads, 0, stream>>>(params);
  });
  cuda_check(cudaGetLastError());
}

int64_t page_bound_workspace_bytes(const PageBoundParams& params) {
  return static_cast<int64_t>(sizeof(int64_t)) +
         params.num_kv_heads * page_capacity(params) * static_cast<int64_t>(sizeof(float));
}

void page_bound(const PageBoundParams& params, cudaStream_t stream) {
  const int64_t stride = page_capacity(params);
  auto* kv_len = static_cast<int64_t*>(params.workspace);
  auto* bounds = reinterpret_cast<float*>(kv_len + 1);
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(stride, kNumThreads / 32)),
                  static_cast<unsigned>(params.num_kv_heads));
  page_bound_kernel<<<grid, kNumThreads, 0, stream>>>(params, bounds, stride, kv_len);
  cuda_check(cudaGetLastError());
  select_units({.num_rows = params.num_kv_heads,
                .scores = bounds,
                .scores_stride = stride,
                .kv_lens = kv_len,
                .selection = {.mode = SelectMode::kBlock,
                              .budget = params.budget,
                              .sink = params.sink,
                              .recent = params.recent},
                .scale = 1,
                .token_ids = params.token_ids,
                .token_ids_stride = params.token_ids_stride,
                .num_ids = params.num_ids,
                .workspace = nullptr,
                .active = nullptr,
                .rows_per_kv_len = params.num_kv_heads},
               {kBoundPageSize, true}, stream);
}

}  // namespace lychee::attention::cuda
