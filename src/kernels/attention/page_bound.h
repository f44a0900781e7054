#pragma once

#include <algorithm>

#include "base/math.h"
#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

// The most ids one head's set can hold for any kv_len up to `max_kv_len`: whole bound pages, and
// those with forced tokens are in it even when their padding exceeds the budget.
[[nodiscard]] inline int64_t page_bound_max_selected(const Selection& selection,
                                                     int64_t max_kv_len) {
  const int64_t forced_pages = int64_t{ceil_div(selection.sink, kBoundPageSize)} + 1 +
                               ceil_div(selection.recent - 1, kBoundPageSize);
  return std::min(max_kv_len,
                  std::max(max_selected(selection, max_kv_len), forced_pages * kBoundPageSize));
}

// The size of every head's set over `kv_len` tokens.
[[nodiscard]] int64_t page_bound_num_selected(const Selection& selection, int64_t kv_len);

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void page_bound(const PageBoundParams& params);
}  // namespace reference

namespace cpu {
// Scratch that cpu::page_bound wants for these params, whatever the number of threads; pointers are
// not read.
[[nodiscard]] int64_t page_bound_workspace_bytes(const PageBoundParams& params);
void page_bound(const PageBoundParams& params);
}  // namespace cpu

namespace cuda {
[[nodiscard]] int64_t page_bound_workspace_bytes(const PageBoundParams& params);
void page_bound(const PageBoundParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
