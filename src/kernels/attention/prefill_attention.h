#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void prefill_attention(const PrefillAttentionParams& params);
}  // namespace reference

namespace cpu {
// Scratch that cpu::prefill_attention wants for these params, whatever the number of threads;
// pointers are not read.
[[nodiscard]] int64_t prefill_attention_workspace_bytes(const PrefillAttentionParams& params);
void prefill_attention(const PrefillAttentionParams& params);
}  // namespace cpu

namespace cuda {
// Needs no scratch. Tensor cores for f16, bf16 and fp8 with head_dim 64 or 128 and strides of whole
// 16 bytes; with `exact`, in parts that keep f32's accuracy. Else plain loops, head_dim up to 256.
[[nodiscard]] int64_t prefill_attention_workspace_bytes(const PrefillAttentionParams& params);
void prefill_attention(const PrefillAttentionParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
