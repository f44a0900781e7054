#include <algorithm>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/eight.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/norm/cuda/rounded_row.cuh"
#include "kernels/norm/rms_norm.h"

namespace lychee::norm::cuda {
namespace {

constexpr int kRowThreads = 512;
constexpr int64_t kMaxBlocks = 65535;
// Rows of at most so many values (those of one head) take a warp each.
constexpr int64_t kMaxWarpDim = 256;

// grid: rows. Each sum is added in the same order whatever the number of rows.
__global__ void __launch_bounds__(kRowThreads)
    rms_norm_row_kernel(const __grid_constant__ RmsNormParams p) {
  __shared__ float scratch[kRowThreads / kWarpSize];
  allow_dependents();
  wait_for_predecessors();
  for (int64_t row = blockIdx.x; row < p.num_rows; row += gridDim.x) {
    const float* x = p.x + row * p.x_stride;
    float squares = 0;
    for (int64_t i = threadIdx.x; i < p.dim; i += kRowThreads) {
      squares += x[i] * x[i];
    }
    squares = block_sum<kRowThreads>(squares, scratch);
    const float factor = 1.0F / sqrtf(squares / static_cast<float>(p.dim) + p.eps);
    for (int64_t i = threadIdx.x; i < p.dim; i += kRowThreads) {
      p.y[row * p.y_stride + i] = x[i] * factor * p.weight[i];
    }
    __syncthreads();  // before `scratch` is used again
  }
}

// grid: groups of eight rows.
__global__ void __launch_bounds__(256)
    rms_norm_warp_kernel(const __grid_constant__ RmsNormParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int64_t row = int64_t{blockIdx.x} * 8 + threadIdx.x / kWarpSize; row < p.num_rows;
       row += int64_t{gridDim.x} * 8) {
    const float* x = p.x + row * p.x_stride;
    float values[kMaxWarpDim / kWarpSize];
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kMaxWarpDim / kWarpSize; ++i) {
      const int at = i * kWarpSize + lane;
      values[i] = at < p.dim ? x[at] : 0.0F;
      squares += values[i] * values[i];
    }
    const float mean = warp_sum(squares) / static_cast<float>(p.dim);
    const float factor = 1.0F / sqrtf(mean + p.eps);
#pragma unroll
    for (int i = 0; i < kMaxWarpDim / kWarpSize; ++i) {
      const int at = i * kWarpSize + lane;
      if (at < p.dim) {
        p.y[row * p.y_stride + at] = values[i] * factor * p.weight[at];
      }
    }
  }
}

// grid: rows. The second reading finds the row in L1.
__global__ void __launch_bounds__(kRoundedThreads)
    rounded_rms_norm_kernel(const __grid_constant__ RoundedRmsNormParams p) {
  __shared__ float warp_squares[kRoundedThreads / kWarpSize];
  allow_dependents();
  wait_for_predecessors();
  for (int64_t row = blockIdx.x; row < p.num_rows; row += gridDim.x) {
    const float* x = p.x + row * p.x_stride;
    float squares = 0;
    for (int64_t i = int64_t{threadIdx.x} * 8; i < p.dim; i += kRoundedThreads * 8) {
      float values[8];
      load_eight(values, x + i);
      squares = add_squares(squares, values);
    }
    squares = warp_sum(squares);
    if (threadIdx.x % kWarpSize == 0) {
      warp_squares[threadIdx.x / kWarpSize] = squares;
    }
    __syncthreads();
    const float factor = norm_factor(warp_squares, static_cast<int>(p.dim), p.eps);
    for (int64_t i = int64_t{threadIdx.x} * 8; i < p.dim; i += kRoundedThreads * 8) {
      float values[8];
      float weights[8];
      load_eight(values, x + i);
      load_eight(weights, p.weight + i);
      *reinterpret_cast<uint4*>(p.y + row * p.y_stride + i) =
          normalize_eight(values, factor, weights);
    }
    __syncthreads();  // before `warp_squares` is used again
  }
}

}  // namespace

void rms_norm(const RmsNormParams& p, CUstream_st* stream) {
  if (p.dim <= kMaxWarpDim) {
    const auto blocks = static_cast<unsigned>(std::min((p.num_rows + 7) / 8, kMaxBlocks));
    launch_dependent(rms_norm_warp_kernel, dim3(blocks), dim3(256), 0, stream, p);
    return;
  }
  const auto blocks = static_cast<unsigned>(std::min(p.num_rows, kMaxBlocks));
  launch_dependent(rms_norm_row_kernel, dim3(blocks), dim3(kRowThreads), 0, stream, p);
}

void rms_norm(const RoundedRmsNormParams& p, CUstream_st* stream) {
  const auto blocks = static_cast<unsigned>(std::min(p.num_rows, kMaxBlocks));
  launch_dependent(rounded_rms_norm_kernel, dim3(blocks), dim3(kRoundedThreads), 0, stream, p);
}

}  // namespace lychee::norm::cuda
