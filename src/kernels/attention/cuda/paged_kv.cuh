#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "base/check.h"
#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

[[nodiscard]] __device__ inline int64_t device_kv_offset(const PagedKv& kv,
                                                         const int32_t* page_table,
                                                         int64_t position, int64_t kv_head) {
  return page_table[position / kPageSize] * kv.page_stride + kv_head * kv.head_stride +
         position % kPageSize * kv.token_stride;
}

[[nodiscard]] __device__ inline float to_float(float value) {
  return value;
}
[[nodiscard]] __device__ inline float to_float(__half value) {
  return __half2float(value);
}
[[nodiscard]] __device__ inline float to_float(__nv_bfloat16 value) {
  return __bfloat162float(value);
}
[[nodiscard]] __device__ inline float to_float(__nv_fp8_e4m3 value) {
  return static_cast<float>(value);
}

// To nearest, ties to even; __nv_fp8_e4m3 keeps to its finite range.
template <typename T>
[[nodiscard]] __device__ inline T round_to(float value) {
  return T(value);
}

// Calls `fn` with a value of the C++ type of a KV cache's elements.
template <typename Fn>
void dispatch_kv_dtype(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kF32:
      return fn(float{});
    case DType::kF16:
      return fn(__half{});
    case DType::kBF16:
      return fn(__nv_bfloat16{});
    case DType::kF8E4M3:
      return fn(__nv_fp8_e4m3{});
    default:
      fail(ErrorCode::kUnsupported, "the KV cache holds f32, f16, bf16 or fp8, not ",
           dtype_info(dtype).name);
  }
}

}  // namespace lychee::attention::cuda
