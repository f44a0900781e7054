#include <cmath>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/loss/logit_loss.h"

namespace lychee::loss::cuda {
namespace {

using Params = LogitLossParams<float>;

constexpr int kThreads = 1024;
constexpr int kNumWarps = kThreads / kWarpSize;

// Over the block, in all threads, always in the same order; starts and ends with a barrier.
template <typename T, typename Combine>
__device__ T block_reduce(T value, const Combine& combine) {
  __shared__ T of_warps[kNumWarps];
#pragma unroll
  for (int mask = kWarpSize / 2; mask > 0; mask /= 2) {
    value = combine(value, __shfl_xor_sync(0xffffffff, value, mask));
  }
  __syncthreads();
  if (threadIdx.x % kWarpSize == 0) {
    of_warps[threadIdx.x / kWarpSize] = value;
  }
  __syncthreads();
  T result = of_warps[0];
  for (int warp = 1; warp < kNumWarps; ++warp) {
    result = combine(result, of_warps[warp]);
  }
  return result;
}

__device__ double block_sum(double value) {
  return block_reduce(value, [](double a, double b) { return a + b; });
}

__device__ float log_sum_exp(const float* logits, int64_t count) {
  float max = -INFINITY;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    max = fmaxf(max, logits[i]);
  }
  max = block_reduce(max, [](float a, float b) { return fmaxf(a, b); });
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) {
    sum += double{expf(logits[i] - max)};
  }
  return static_cast<float>(double{max} + log(block_sum(sum)));
}

// grid: rows.
__global__ void __launch_bounds__(kThreads) kl_divergence_kernel(const __grid_constant__ Params p) {
  allow_dependents();
  wait_for_predecessors();
  const float* teacher = p.teacher + blockIdx.x * p.vocab_size;
  float* student = p.student + blockIdx.x * p.vocab_size;
  const float teacher_log_sum = log_sum_exp(teacher, p.vocab_size);
  const float student_log_sum = log_sum_exp(student, p.vocab_size);
  const auto scale = static_cast<float>(p.scale);
  double loss = 0;
  for (int64_t i = threadIdx.x; i < p.vocab_size; i += kThreads) {
    const float teacher_log = teacher[i] - teacher_log_sum;
    const float student_log = student[i] - student_log_sum;
    const float probability = expf(teacher_log);
    loss += double{probability * (teacher_log - student_log)};
    student[i] = scale * (expf(student_log) - probability);
  }
  loss = block_sum(loss);
  if (threadIdx.x == 0) {
    p.loss[blockIdx.x] = loss;
  }
}

// grid: rows.
__global__ void __launch_bounds__(kThreads) mean_square_kernel(const __grid_constant__ Params p) {
  allow_dependents();
  wait_for_predecessors();
  const float* teacher = p.teacher + blockIdx.x * p.vocab_size;
  float* student = p.student + blockIdx.x * p.vocab_size;
  const auto slope = static_cast<float>(2 * p.scale / static_cast<double>(p.vocab_size));
  double sum = 0;
  for (int64_t i = threadIdx.x; i < p.vocab_size; i += kThreads) {
    const float difference = student[i] - teacher[i];
    sum += double{difference * difference};
    student[i] = slope * difference;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    p.loss[blockIdx.x] = sum / static_cast<double>(p.vocab_size);
  }
}

}  // namespace

void kl_divergence(const Params& p, CUstream_st* stream) {
  launch_dependent(kl_divergence_kernel, dim3(static_cast<unsigned>(p.num_rows)), dim3(kThreads), 0,
                   stream, p);
}

void mean_square(const Params& p, CUstream_st* stream) {
  launch_dependent(mean_square_kernel, dim3(static_cast<unsigned>(p.num_rows)), dim3(kThreads), 0,
                   stream, p);
}

}  // namespace lychee::loss::cuda
