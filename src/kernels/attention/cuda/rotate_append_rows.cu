#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/cuda/head_pairs.cuh"
#include "kernels/attention/rotate_append.h"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumWarps = 4;
constexpr int kMaxHeadDim = 256;

// grid: (groups of kNumWarps heads in the order of q, k, v, rows).
template <typename Stored>
__global__ void __launch_bounds__(kNumWarps* kWarpSize)
    rotate_append_rows_kernel(const __grid_constant__ RotateAppendRowsParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int head = static_cast<int>(blockIdx.x * kNumWarps + threadIdx.x / kWarpSize);
  const int64_t row = blockIdx.y;
  const int half = p.head_dim / 2;
  const auto load = [&](const float* x) { return HeadPairs<kMaxHeadDim>(x, half); };
  if (head < p.num_q_heads) {
    float* q = p.q + row * p.q_stride + int64_t{head} * p.head_dim;
    auto pairs = load(q);
    const auto table = load(p.newest.rope_table + row * p.head_dim);
    if (p.newest.q_norm != nullptr) {
      pairs.normalize(load(p.newest.q_norm), p.newest.norm_eps);
    }
    pairs.rotate(table);
    pairs.store(q, 1.0F);
    return;
  }
  if (head >= p.num_q_heads + 2 * p.num_kv_heads) {
    return;
  }
  const bool is_value = head >= p.num_q_heads + p.num_kv_heads;
  const int index = head - p.num_q_heads - (is_value ? p.num_kv_heads : 0);
  const float* from = is_value ? p.newest.v : p.newest.k;
  auto pairs = load(from + row * p.newest.kv_stride + int64_t{index} * p.head_dim);
  if (!is_value) {
    const auto table = load(p.newest.rope_table + row * p.head_dim);
    if (p.newest.k_norm != nullptr) {
      pairs.normalize(load(p.newest.k_norm), p.newest.norm_eps);
    }
    pairs.rotate(table);
  }
  const float* scales = is_value ? p.kv.v_scales : p.kv.k_scales;
  auto* to =
      static_cast<Stored*>(is_value ? p.kv.v : p.kv.k) +
      device_kv_offset(p.kv, p.page_tables + row * p.page_table_stride, p.kv_lens[row] - 1, index);
  pairs.store(to, scales == nullptr ? 1.0F : scales[index]);
}

}  // namespace

void rotate_append_rows(const RotateAppendRowsParams& p, cudaStream_t stream) {
  require(p.head_dim % 2 == 0 && p.head_dim <= kMaxHeadDim, ErrorCode::kUnsupported,
          "rotate_append_rows: head_dim of ", p.head_dim, ", at most ", kMaxHeadDim, " and even");
  const dim3 grid(static_cast<unsigned>(ceil_div(p.num_q_heads + 2 * p.num_kv_heads, kNumWarps)),
                  static_cast<unsigned>(p.batch));
  dispatch_kv_dtype(p.kv.dtype, [&](auto element) {
    launch_dependent(rotate_append_rows_kernel<decltype(element)>, grid,
                     dim3(kNumWarps * kWarpSize), 0, stream, p);
  });
}

}  // namespace lychee::attention::cuda
