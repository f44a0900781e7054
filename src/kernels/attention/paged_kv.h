#pragma once

#include <cstdint>

#include "base/check.h"
#include "kernels/attention/params.h"

namespace lychee::attention {

// Elements from the start of `k` (and of `v`) to dimension 0 of one token of one KV head.
[[nodiscard]] inline int64_t kv_offset(const PagedKv& kv, const int32_t* page_table,
                                       int64_t position, int64_t kv_head) {
  return page_table[position / kPageSize] * kv.page_stride + kv_head * kv.head_stride +
         position % kPageSize * kv.token_stride;
}

[[nodiscard]] inline float load_kv(DType dtype, const void* base, int64_t index) {
  if (dtype == DType::kF16) {
    return static_cast<float>(static_cast<const f16*>(base)[index]);
  }
  if (dtype == DType::kBF16) {
    return static_cast<float>(static_cast<const bf16*>(base)[index]);
  }
  if (dtype == DType::kF8E4M3) {
    return static_cast<float>(static_cast<const f8e4m3*>(base)[index]);
  }
  return static_cast<const float*>(base)[index];
}

inline void store_kv(DType dtype, void* base, int64_t index, float value) {
  if (dtype == DType::kF16) {
    static_cast<f16*>(base)[index] = f16(value);
  } else if (dtype == DType::kBF16) {
    static_cast<bf16*>(base)[index] = bf16(value);
  } else if (dtype == DType::kF8E4M3) {
    static_cast<f8e4m3*>(base)[index] = f8e4m3(value);
  } else {
    static_cast<float*>(base)[index] = value;
  }
}

[[nodiscard]] inline bool is_kv_dtype(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

// What stored K or V of one head is multiplied by.
[[nodiscard]] inline float kv_scale(const float* scales, int64_t kv_head) {
  return scales == nullptr ? 1.0F : scales[kv_head];
}

// The dtypes of a KV cache; anything else would be read as something it is not.
inline void require_kv_dtype(const PagedKv& kv) {
  require(is_kv_dtype(kv.dtype), ErrorCode::kUnsupported,
          "the KV cache holds f32, f16 or bf16, not ", dtype_info(kv.dtype).name);
}

// The same for cuda::, which also knows 8-bit floats.
inline void require_device_kv_dtype(const PagedKv& kv) {
  require(is_kv_dtype(kv.dtype) || kv.dtype == DType::kF8E4M3, ErrorCode::kUnsupported,
          "the KV cache holds f32, f16, bf16 or fp8, not ", dtype_info(kv.dtype).name);
}

// Vectors of eight floats cover a row without a tail.
inline void require_head_dim(int head_dim) {
  require(head_dim > 0 && head_dim % 8 == 0, ErrorCode::kUnsupported, "head_dim ", head_dim,
          " is not a multiple of 8");
}

}  // namespace lychee::attention
