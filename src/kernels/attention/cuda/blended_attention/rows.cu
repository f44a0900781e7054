#include <cmath>

#include "base/math.h"
#include "kernels/attention/cuda/blended_attention/launch.h"
#include "kernels/attention/cuda/blended_attention/softmax_sums.cuh"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

namespace {

constexpr int kThreads = 256;

__device__ float log2_sum(const SoftmaxSums& sums) {
  return sums.max + log2f(sums.sum);
}

// Members and others of a row over all splits, and the weights that follow.
__device__ RowWeights weigh_row(const SoftmaxSums& member, const SoftmaxSums& other, float z,
                                float& d_z) {
  SoftmaxSums all = member;
  all.add(other);
  const float dense_mean = all.d_sum / all.sum;
  const float sparse_mean = member.sum > 0 ? member.d_sum / member.sum : dense_mean;
  const float log2_dense = log2_sum(all);
  const float log2_sparse = log2_sum(member);
  d_z = dense_mean - sparse_mean;
  // Of a member's sparse softmax weight: z · dense + (1 - z) · sparse = sparse · gain.
  const float dense_share = z * exp2f(log2_sparse - log2_dense);
  const float gain = dense_share + (1 - z);
  const float mean =
      gain > 0 ? (dense_share * dense_mean + (1 - z) * sparse_mean) / gain : sparse_mean;
  return {log2_sparse - log2f(gain), log2_dense - log2f(z), mean, dense_mean};
}

// grid: (parts of a head's queries, KV heads).
__global__ void __launch_bounds__(kThreads)
    weigh_rows_kernel(const __grid_constant__ BlendedView view, bool backward) {
  allow_dependents();
  wait_for_predecessors();
  const int query = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const auto kv_head = static_cast<int>(blockIdx.y);
  if (query >= view.padded_queries) {
    return;
  }
  const int64_t at = int64_t{kv_head} * view.padded_queries + query;
  if (query >= view.num_queries) {
    view.weights[at] = {INFINITY, INFINITY, 0, 0};  // weighs nothing
    return;
  }
  SoftmaxSums member;
  SoftmaxSums other;
  for (int split = 0; split < view.num_splits; ++split) {
    const int64_t from = split * int64_t{view.num_kv_heads} * view.padded_queries + at;
    const float4 sums = view.statistics[from];
    const float2 d_sums = backward ? view.d_statistics[from] : float2{0, 0};
    member.add({sums.x, sums.y, d_sums.x});
    other.add({sums.z, sums.w, d_sums.y});
  }
  float d_z = 0;
  view.weights[at] = weigh_row(member, other, view.z == nullptr ? 1.0F : view.z[kv_head], d_z);
  if (backward) {
    view.d_z[at] = view.bits == nullptr ? 0.0F : d_z;
  }
}

// grid: KV heads.
__global__ void __launch_bounds__(kThreads)
    sum_d_z_kernel(const __grid_constant__ BlendedView view, double* d_z) {
  __shared__ double sums[kThreads];
  allow_dependents();
  wait_for_predecessors();
  double sum = 0;
  for (int query = static_cast<int>(threadIdx.x); query < view.num_queries; query += kThreads) {
    sum += double{view.d_z[int64_t{blockIdx.x} * view.padded_queries + query]};
  }
  sums[threadIdx.x] = sum;
  for (int distance = kThreads / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < distance) {
      sums[threadIdx.x] += sums[threadIdx.x + distance];
    }
  }
  if (threadIdx.x == 0) {
    d_z[blockIdx.x] = sums[0];
  }
}

__global__ void __launch_bounds__(kThreads)
    sum_parts_kernel(const float* parts, int num_parts, int64_t count, float* sum) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) {
    return;
  }
  float value = 0;
  for (int part = 0; part < num_parts; ++part) {
    value += parts[part * count + i];
  }
  sum[i] = value;
}

}  // namespace

void weigh_rows(const BlendedView& view, bool backward, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(view.padded_queries, kThreads)),
                  static_cast<unsigned>(view.num_kv_heads));
  launch_dependent(weigh_rows_kernel, grid, dim3(kThreads), 0, stream, view, backward);
}

void sum_d_z(const BlendedView& view, double* d_z, cudaStream_t stream) {
  launch_dependent(sum_d_z_kernel, dim3(static_cast<unsigned>(view.num_kv_heads)), dim3(kThreads),
                   0, stream, view, d_z);
}

void sum_parts(const float* parts, int num_parts, int64_t count, float* sum, cudaStream_t stream) {
  launch_dependent(sum_parts_kernel,
                   dim3(static_cast<unsigned>(ceil_div(count, int64_t{kThreads}))), dim3(kThreads),
                   0, stream, parts, num_parts, count, sum);
}

}  // namespace lychee::attention::cuda
