#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/rotate_append.h"
#include "kernels/cuda/dependent_launch.cuh"
#include "kernels/cuda/warp.cuh"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumWarps = 4;
constexpr int kMaxHeadDim = 256;

// A warp's head in registers: lane l has the pairs l, l + 32, … of values half a head apart.
struct HeadPairs {
  static constexpr int kPairs = kMaxHeadDim / 2 / kWarpSize;

  __device__ HeadPairs(const float* x, int half_dim)
      : half(half_dim), lane(static_cast<int>(threadIdx.x) % kWarpSize) {
    for_each([&](int i, int pair) {
      first[i] = x[pair];
      second[i] = x[half + pair];
    });
  }
  // fn(i, pair) of this lane's pairs.
  template <typename Fn>
  __device__ void for_each(Fn&& fn) {
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int pair = i * kWarpSize + lane;
      if (pair < half) {
        fn(i, pair);
      }
    }
  }
  __device__ void normalize(const float* weight, float eps) {
    float squares = 0;
    for_each([&](int i, int) { squares += first[i] * first[i] + second[i] * second[i]; });
    const float factor = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(2 * half) + eps);
    for_each([&](int i, int pair) {
      first[i] *= factor * weight[pair];
      second[i] *= factor * weight[half + pair];
    });
  }
  __device__ void rotate(const float* table) {
    for_each([&](int i, int pair) {
      const float cosine = table[pair];
      const float sine = table[half + pair];
      const float x = first[i];
      first[i] = x * cosine - second[i] * sine;
      second[i] = second[i] * cosine + x * sine;
    });
  }
  template <typename T>
  __device__ void store(T* to, float scale) {
    for_each([&](int i, int pair) {
      to[pair] = round_to<T>(first[i] / scale);
      to[half + pair] = round_to<T>(second[i] / scale);
    });
  }

  int half;
  int lane;
  float first[kPairs];
  float second[kPairs];
};

// grid: (groups of kNumWarps heads in the order of q, k, v, rows).
template <typename Stored>
__global__ void __launch_bounds__(kNumWarps* kWarpSize)
    rotate_append_rows_kernel(const __grid_constant__ RotateAppendRowsParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int head = static_cast<int>(blockIdx.x * kNumWarps + threadIdx.x / kWarpSize);
  const int64_t row = blockIdx.y;
  const float* table = p.rope_table + row * p.head_dim;
  if (head < p.num_q_heads) {
    float* q = p.q + row * p.q_stride + int64_t{head} * p.head_dim;
    HeadPairs pairs(q, p.head_dim / 2);
    if (p.q_norm != nullptr) {
      pairs.normalize(p.q_norm, p.norm_eps);
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
  const float* from = is_value ? p.v : p.k;
  HeadPairs pairs(from + row * p.kv_stride + int64_t{index} * p.head_dim, p.head_dim / 2);
  if (!is_value) {
    if (p.k_norm != nullptr) {
      pairs.normalize(p.k_norm, p.norm_eps);
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
