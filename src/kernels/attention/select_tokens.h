#pragma once

#include "kernels/attention/params.h"

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

}  // namespace lychee::attention
