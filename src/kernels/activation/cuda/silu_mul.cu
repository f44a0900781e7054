#include <algorithm>

#include "kernels/activation/cuda/silu.cuh"
#include "kernels/activation/silu_mul.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/eight.cuh"

namespace lychee::activation::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxGridY = 65535;

// grid: (parts of a row, rows).
__global__ void __launch_bounds__(kThreads)
    silu_mul_kernel(const __grid_constant__ SiluMulParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= p.dim) {
    return;
  }
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    p.y[row * p.y_stride + i] =
        silu_mul_value(p.gate[row * p.gate_stride + i], p.up[row * p.up_stride + i]);
  }
}

// grid: (parts of a row, rows), eight values a thread.
__global__ void __launch_bounds__(kThreads)
    rounded_silu_mul_kernel(const __grid_constant__ SiluMulParamsOf<bf16> p) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 8;
  if (i >= p.dim) {
    return;
  }
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    float gate[8];
    float up[8];
    unpack_eight<__nv_bfloat16>(gate,
                                *reinterpret_cast<const uint4*>(p.gate + row * p.gate_stride + i));
    unpack_eight<__nv_bfloat16>(up, *reinterpret_cast<const uint4*>(p.up + row * p.up_stride + i));
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      gate[j] = silu_mul_value(gate[j], up[j]);
    }
    *reinterpret_cast<uint4*>(p.y + row * p.y_stride + i) = pack_eight<__nv_bfloat16>(gate);
  }
}

}  // namespace

void silu_mul(const SiluMulParams& p, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>((p.dim + kThreads - 1) / kThreads),
                  static_cast<unsigned>(std::min(p.num_rows, kMaxGridY)));
  launch_dependent(silu_mul_kernel, grid, dim3(kThreads), 0, stream, p);
}

void silu_mul(const SiluMulParamsOf<bf16>& p, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>((p.dim / 8 + kThreads - 1) / kThreads),
                  static_cast<unsigned>(std::min(p.num_rows, kMaxGridY)));
  launch_dependent(rounded_silu_mul_kernel, grid, dim3(kThreads), 0, stream, p);
}

}  // namespace lychee::activation::cuda
