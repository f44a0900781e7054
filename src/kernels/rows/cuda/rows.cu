#include <algorithm>

#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/rows/rows.h"

namespace lychee::rows::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kMaxGridY = 65535;

// grid: (parts of a row, rows).
template <bool kScatter>
__global__ void __launch_bounds__(kThreads)
    pick_kernel(const __grid_constant__ PickParams<float> p) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t row = blockIdx.y; row < p.num_rows && column < p.dim; row += gridDim.y) {
    const int64_t from = kScatter ? row : p.row_ids[row];
    const int64_t to = kScatter ? p.row_ids[row] : row;
    p.to[to * p.dim + column] = p.from[from * p.dim + column];
  }
}

// grid: (parts of a token's K or V, tokens).
__global__ void __launch_bounds__(kThreads)
    append_kernel(const __grid_constant__ AppendParams<float> p) {
  allow_dependents();
  wait_for_predecessors();
  const int64_t width = int64_t{p.num_kv_heads} * p.head_dim;
  const int64_t column = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t head = column / p.head_dim;
  for (int64_t row = blockIdx.y; row < p.num_rows && column < width; row += gridDim.y) {
    p.context[(head * p.context_stride + p.first_row + row) * p.head_dim + column % p.head_dim] =
        p.rows[row * width + column];
  }
}

dim3 grid_of(int64_t columns, int64_t rows) {
  return {static_cast<unsigned>((columns + kThreads - 1) / kThreads),
          static_cast<unsigned>(std::min(rows, kMaxGridY))};
}

}  // namespace

void gather(const PickParams<float>& p, CUstream_st* stream) {
  launch_dependent(pick_kernel<false>, grid_of(p.dim, p.num_rows), dim3(kThreads), 0, stream, p);
}

void scatter(const PickParams<float>& p, CUstream_st* stream) {
  launch_dependent(pick_kernel<true>, grid_of(p.dim, p.num_rows), dim3(kThreads), 0, stream, p);
}

void append(const AppendParams<float>& p, CUstream_st* stream) {
  launch_dependent(append_kernel, grid_of(int64_t{p.num_kv_heads} * p.head_dim, p.num_rows),
                   dim3(kThreads), 0, stream, p);
}

}  // namespace lychee::rows::cuda
