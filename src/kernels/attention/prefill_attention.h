#pragma once

#include "kernels/attention/params.h"

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

}  // namespace lychee::attention
