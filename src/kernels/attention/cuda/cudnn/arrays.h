#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/attention/params.h"

namespace lychee::attention::cudnn {

// What cuDNN's kernel finds in device memory when it starts.
struct Preparation {
  int32_t num_tokens;
  int32_t kv_len;
  int32_t* lengths;           // becomes {num_tokens, kv_len}: a copy from the host would wait
  const int32_t* page_table;  // [ceil(kv_len / kPageSize)]
  PagedKv kv;                 // f16 or bf16, with strides of whole 16 bytes
  int num_kv_heads;
  int head_dim;  // a multiple of 8
};
// Also sets the rest of the last page to zero: the kernel multiplies it by weights of zero, which
// leaves NaN what it is.
void prepare(const Preparation& preparation, cudaStream_t stream);

// Turns `count` values, a multiple of 8 and aligned to 16 bytes, from f16 to bf16, in place.
void f16_to_bf16(void* values, int64_t count, cudaStream_t stream);

}  // namespace lychee::attention::cudnn
