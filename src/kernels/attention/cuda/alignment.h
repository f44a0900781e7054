#pragma once

#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

// Rows of K and V can be read in whole chunks of 16 bytes.
[[nodiscard]] inline bool is_aligned(const PagedKv& kv) {
  const int64_t chunk = 16 / dtype_bytes(kv.dtype, 1);
  return kv.page_stride % chunk == 0 && kv.head_stride % chunk == 0 && kv.token_stride % chunk == 0;
}

}  // namespace lychee::attention::cuda
