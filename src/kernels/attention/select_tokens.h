#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void select_tokens(const SelectTokensParams& params);
}  // namespace reference

namespace cpu {
// Scratch that cpu::select_tokens wants for these params, whatever the number of threads; pointers
// are not read.
[[nodiscard]] int64_t select_tokens_workspace_bytes(const SelectTokensParams& params);
void select_tokens(const SelectTokensParams& params);
}  // namespace cpu

namespace cuda {
[[nodiscard]] int64_t select_tokens_workspace_bytes(const SelectTokensParams& params);
// One launch, a cluster of eight blocks a row, or of many rows one; exact, and the same bits every
// run.
void select_tokens(const SelectTokensParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
