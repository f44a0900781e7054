#include <algorithm>
#include <type_traits>

#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/cuda/alignment.h"
#include "kernels/attention/cuda/paged_kv.cuh"
#include "kernels/attention/paged_kv.h"
#include "kernels/attention/rotate_append.h"
#include "kernels/cuda/dependent_launch.cuh"

namespace lychee::attention::cuda {

namespace {

constexpr int kNumThreads = 256;
constexpr int kDims = 4;  // of either half of a head, which a thread looks after

template <typename T>
struct alignas(kDims * sizeof(T)) Elements {
  T values[kDims];
};

template <typename T>
__device__ void store(T* to, const float (&values)[kDims], float scale) {
  Elements<T> rounded;
#pragma unroll
  for (int i = 0; i < kDims; ++i) {
    rounded.values[i] = round_to<T>(values[i] / scale);
  }
  *reinterpret_cast<Elements<T>*>(to) = rounded;
}

__device__ void load(float (&values)[kDims], const float* from) {
  const float4 loaded = *reinterpret_cast<const float4*>(from);
  values[0] = loaded.x;
  values[1] = loaded.y;
  values[2] = loaded.z;
  values[3] = loaded.w;
}

__device__ void rotate(float (&first)[kDims], float (&second)[kDims], const float* table,
                       int half) {
  float cosine[kDims];
  float sine[kDims];
  load(cosine, table);
  load(sine, table + half);
#pragma unroll
  for (int i = 0; i < kDims; ++i) {
    const float x = first[i];
    first[i] = x * cosine[i] - second[i] * sine[i];
    second[i] = second[i] * cosine[i] + x * sine[i];
  }
}

template <typename Query>
__device__ void store_query(Query* to, float (&first)[kDims], float (&second)[kDims], int half) {
  if constexpr (std::is_same_v<Query, __half>) {
    constexpr float kLargest = 65504;
#pragma unroll
    for (int i = 0; i < kDims; ++i) {
      first[i] = fminf(fmaxf(first[i], -kLargest), kLargest);
      second[i] = fminf(fmaxf(second[i], -kLargest), kLargest);
    }
  }
  store(to, first, 1.0F);
  store(to + half, second, 1.0F);
}

// grid: (parts of a token's heads, tokens). Heads in the order of q, k, v.
template <typename Query, typename Stored>
__global__ void __launch_bounds__(kNumThreads)
    rotate_append_kernel(const __grid_constant__ RotateAppendParams p) {
  allow_dependents();
  wait_for_predecessors();
  const int half = p.head_dim / 2;
  const int place = static_cast<int>(blockIdx.x * kNumThreads + threadIdx.x) * kDims;
  const int head = place / half;
  const int dim = place % half;
  if (head >= p.num_q_heads + 2 * p.num_kv_heads) {
    return;
  }
  const int kv_head = head - p.num_q_heads;
  const bool is_query = kv_head < 0;
  const bool is_value = kv_head >= p.num_kv_heads;
  const int index = is_query ? head : is_value ? kv_head - p.num_kv_heads : kv_head;
  const float* rows = is_query ? p.q : is_value ? p.v : p.k;
  for (int64_t token = blockIdx.y; token < p.num_tokens; token += gridDim.y) {
    const float* x = rows + token * p.row_stride + int64_t{index} * p.head_dim + dim;
    float first[kDims];
    float second[kDims];
    load(first, x);
    load(second, x + half);
    if (!is_value) {
      rotate(first, second, p.rope_table + token * p.head_dim + dim, half);
    }
    if (is_query) {
      store_query(static_cast<Query*>(p.q_out) + (token * p.num_q_heads + index) * p.head_dim + dim,
                  first, second, half);
      continue;
    }
    const float* scales = is_value ? p.kv.v_scales : p.kv.k_scales;
    const float scale = scales == nullptr ? 1.0F : scales[index];
    Stored* to = static_cast<Stored*>(is_value ? p.kv.v : p.kv.k) +
                 device_kv_offset(p.kv, p.page_table, p.first_position + token, index) + dim;
    store(to, first, scale);
    store(to + half, second, scale);
  }
}

template <typename Query, typename Stored>
void launch(const RotateAppendParams& p, cudaStream_t stream) {
  constexpr int64_t kMaxGridY = 65535;
  const int threads = (p.num_q_heads + 2 * p.num_kv_heads) * (p.head_dim / 2 / kDims);
  const dim3 grid(static_cast<unsigned>(ceil_div(threads, kNumThreads)),
                  static_cast<unsigned>(std::min<int64_t>(p.num_tokens, kMaxGridY)));
  launch_dependent(rotate_append_kernel<Query, Stored>, grid, dim3(kNumThreads), 0, stream, p);
}

template <typename Query>
void launch_query(const RotateAppendParams& p, cudaStream_t stream) {
  switch (p.kv.dtype) {
    case DType::kF16:
      return launch<Query, __half>(p, stream);
    case DType::kBF16:
      return launch<Query, __nv_bfloat16>(p, stream);
    case DType::kF8E4M3:
      return launch<Query, __nv_fp8_e4m3>(p, stream);
    default:
      fail(ErrorCode::kInternal, "rotate_append into a cache of ", dtype_info(p.kv.dtype).name);
  }
}

}  // namespace

void rotate_append(const RotateAppendParams& p, cudaStream_t stream) {
  require_head_dim(p.head_dim);
  require(is_aligned(p.kv) && p.row_stride % kDims == 0, ErrorCode::kInternal,
          "rotate_append: rows that are not aligned");
  if (p.q_dtype == DType::kF16) {
    return launch_query<__half>(p, stream);
  }
  require(p.q_dtype == DType::kBF16, ErrorCode::kInternal, "rotate_append to queries of ",
          dtype_info(p.q_dtype).name);
  launch_query<__nv_bfloat16>(p, stream);
}

}  // namespace lychee::attention::cuda
