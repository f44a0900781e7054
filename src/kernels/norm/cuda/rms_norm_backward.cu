#include <algorithm>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/warp.cuh"
#include "kernels/norm/rms_norm_backward.h"

namespace lychee::norm::cuda {
namespace {

using Params = RmsNormBackwardParams<float>;

constexpr int kRowThreads = 512;
constexpr int kWarpThreads = 256;
constexpr int kRowsPerBlock = kWarpThreads / kWarpSize;
constexpr int64_t kMaxBlocks = 65535;
// Rows of at most so many values (those of one head) take a warp each.
constexpr int64_t kMaxWarpDim = 256;

// One row's part in the gradient: scale · (weight · dy - x · shift).
struct RowFactors {
  float scale;
  float shift;
};

// squares: of x; product: of x and weight · dy; both summed over the row.
__device__ RowFactors row_factors(const Params& p, float squares, float product) {
  const float scale = 1.0F / sqrtf(squares / static_cast<float>(p.dim) + p.eps);
  return {scale, product * scale * scale / static_cast<float>(p.dim)};
}

__device__ void store_gradient(const Params& p, int64_t row, int64_t i, RowFactors factors) {
  float& dx = p.dx[row * p.dx_stride + i];
  const float d_normed = p.dy[row * p.dy_stride + i] * p.weight[i];
  const float gradient = factors.scale * (d_normed - p.x[row * p.x_stride + i] * factors.shift);
  dx = p.accumulate ? dx + gradient : gradient;
}

template <int kThreads>
__device__ void add_products(const Params& p, int64_t row, int first, float& squares,
                             float& product) {
  const float* x = p.x + row * p.x_stride;
  const float* dy = p.dy + row * p.dy_stride;
  for (int64_t i = first; i < p.dim; i += kThreads) {
    squares += x[i] * x[i];
    product += x[i] * (dy[i] * p.weight[i]);
  }
}

// grid: rows.
__global__ void __launch_bounds__(kRowThreads)
    rms_norm_backward_row_kernel(const __grid_constant__ Params p) {
  __shared__ float scratch[2][kRowThreads / kWarpSize];
  allow_dependents();
  wait_for_predecessors();
  for (int64_t row = blockIdx.x; row < p.num_rows; row += gridDim.x) {
    float squares = 0;
    float product = 0;
    add_products<kRowThreads>(p, row, static_cast<int>(threadIdx.x), squares, product);
    squares = block_sum<kRowThreads>(squares, scratch[0]);
    product = block_sum<kRowThreads>(product, scratch[1]);
    const RowFactors factors = row_factors(p, squares, product);
    for (int64_t i = threadIdx.x; i < p.dim; i += kRowThreads) {
      store_gradient(p, row, i, factors);
    }
    __syncthreads();  // before `scratch` is used again
  }
}

// grid: groups of kRowsPerBlock rows.
__global__ void __launch_bounds__(kWarpThreads)
    rms_norm_backward_warp_kernel(const __grid_constant__ Params p) {
  allow_dependents();
  wait_for_predecessors();
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int64_t row = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.x / kWarpSize;
       row < p.num_rows; row += int64_t{gridDim.x} * kRowsPerBlock) {
    float squares = 0;
    float product = 0;
    add_products<kWarpSize>(p, row, lane, squares, product);
    const RowFactors factors = row_factors(p, warp_sum(squares), warp_sum(product));
    for (int64_t i = lane; i < p.dim; i += kWarpSize) {
      store_gradient(p, row, i, factors);
    }
  }
}

}  // namespace

void rms_norm_backward(const Params& p, CUstream_st* stream) {
  if (p.dim <= kMaxWarpDim) {
    const auto blocks = static_cast<unsigned>(
        std::min((p.num_rows + kRowsPerBlock - 1) / kRowsPerBlock, kMaxBlocks));
    launch_dependent(rms_norm_backward_warp_kernel, dim3(blocks), dim3(kWarpThreads), 0, stream, p);
    return;
  }
  const auto blocks = static_cast<unsigned>(std::min(p.num_rows, kMaxBlocks));
  launch_dependent(rms_norm_backward_row_kernel, dim3(blocks), dim3(kRowThreads), 0, stream, p);
}

}  // namespace lychee::norm::cuda
