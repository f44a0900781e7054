#include <algorithm>

#include "kernels/activation/silu_mul.h"
#include "kernels/cuda/dependent_launch.cuh"

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
    const float gate = p.gate[row * p.gate_stride + i];
    p.y[row * p.y_stride + i] = gate / (1.0F + __expf(-gate)) * p.up[row * p.up_stride + i];
  }
}

}  // namespace

void silu_mul(const SiluMulParams& p, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>((p.dim + kThreads - 1) / kThreads),
                  static_cast<unsigned>(std::min(p.num_rows, kMaxGridY)));
  launch_dependent(silu_mul_kernel, grid, dim3(kThreads), 0, stream, p);
}

}  // namespace lychee::activation::cuda
