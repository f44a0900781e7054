#include <algorithm>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/rope/rope.h"

namespace lychee::rope::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kMaxGridY = 65535;

// grid: (parts of half a row, rows).
__global__ void __launch_bounds__(kThreads)
    rope_table_kernel(const __grid_constant__ RopeTableParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int half = p.head_dim / 2;
  const int i = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (i >= half) {
    return;
  }
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    double sine = 0;
    double cosine = 0;
    sincos(static_cast<double>(p.positions[row]) * static_cast<double>(p.inv_freq[i]), &sine,
           &cosine);
    p.table[row * p.head_dim + i] =
        static_cast<float>(cosine * static_cast<double>(p.attention_factor));
    p.table[row * p.head_dim + half + i] =
        static_cast<float>(sine * static_cast<double>(p.attention_factor));
  }
}

// grid: (parts of the pairs of a token, tokens).
__global__ void __launch_bounds__(kThreads)
    rope_apply_kernel(const __grid_constant__ RopeApplyParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int half = p.head_dim / 2;
  const int pair = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (pair >= p.num_heads * half) {
    return;
  }
  const int i = pair % half;
  for (int64_t row = blockIdx.y; row < p.num_rows; row += gridDim.y) {
    float* x = p.x + row * p.row_stride + pair / half * p.head_dim + i;
    const float cosine = p.table[row * p.head_dim + i];
    const float sine = p.table[row * p.head_dim + half + i];
    const float first = x[0];
    const float second = x[half];
    x[0] = first * cosine - second * sine;
    x[half] = second * cosine + first * sine;
  }
}

dim3 grid_of(int width, int64_t rows) {
  return {static_cast<unsigned>((width + kThreads - 1) / kThreads),
          static_cast<unsigned>(std::min(rows, kMaxGridY))};
}

}  // namespace

void make_rope_table(const RopeTableParams& p, CUstream_st* stream) {
  launch_dependent(rope_table_kernel, grid_of(p.head_dim / 2, p.num_rows), dim3(kThreads), 0,
                   stream, p);
}

void apply_rope_table(const RopeApplyParams& p, CUstream_st* stream) {
  launch_dependent(rope_apply_kernel, grid_of(p.num_heads * (p.head_dim / 2), p.num_rows),
                   dim3(kThreads), 0, stream, p);
}

}  // namespace lychee::rope::cuda
