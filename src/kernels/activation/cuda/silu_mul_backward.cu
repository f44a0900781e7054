#include <algorithm>

#include "kernels/activation/silu_mul_backward.h"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::activation::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxGridY = 65535;

// grid: (parts of a row, rows).
__global__ void __launch_bounds__(kThreads)
    silu_mul_backward_kernel(const __grid_constant__ SiluMulBackwardParams<float> p) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= p.dim) {
    return;
  }
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    const int64_t at = row * p.stride + i;
    const float gate = p.gate[at];
    const float dy = p.dy[at];
    const float up = p.up[at];
    // exp overflows to infinity, whose sigmoid is 0 as it should be.
    const float sigmoid = 1.0F / (1.0F + __expf(-gate));
    p.d_up[at] = dy * (gate * sigmoid);
    p.d_gate[at] = dy * up * (sigmoid * fmaf(gate, 1.0F - sigmoid, 1.0F));
  }
}

}  // namespace

void silu_mul_backward(const SiluMulBackwardParams<float>& p, CUstream_st* stream) {
  const dim3 grid(static_cast<unsigned>((p.dim + kThreads - 1) / kThreads),
                  static_cast<unsigned>(std::min(p.num_rows, kMaxGridY)));
  launch_dependent(silu_mul_backward_kernel, grid, dim3(kThreads), 0, stream, p);
}

}  // namespace lychee::activation::cuda
