#pragma once

#include "kernels/attention/params.h"

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void page_bound(const PageBoundParams& params);
}  // namespace reference

namespace cpu {
// Scratch that cpu::page_bound wants for these params, whatever the number of threads; pointers are not read.
[[nodiscard]] int64_t page_bound_workspace_bytes(const PageBoundParams& params);
void page_bound(const PageBoundParams& params);
}  // namespace cpu

}  // namespace lychee::attention
