#include "kernels/attention/page_summary.h"

#include <algorithm>
#include <limits>

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::reference {

void page_summary(const PageSummaryParams& params) {
  for (int64_t page = params.first_page; page * kBoundPageSize < params.kv_len; ++page) {
    const int64_t end = std::min((page + 1) * kBoundPageSize, params.kv_len);
    for (int64_t head = 0; head < params.num_kv_heads; ++head) {
      const int64_t to = kv_offset(params.kv, params.summary_table, page, head);
      for (int d = 0; d < params.head_dim; ++d) {
        float min = std::numeric_limits<float>::infinity();
        float max = -min;
        for (int64_t position = page * kBoundPageSize; position < end; ++position) {
          const int64_t offset = kv_offset(params.kv, params.page_table, position, head);
          const float k = load_kv(params.kv.dtype, params.kv.k, offset + d);
          min = std::min(min, k);
          max = std::max(max, k);
        }
        store_kv(params.kv.dtype, params.kv.k, to + d, min);
        store_kv(params.kv.dtype, params.kv.v, to + d, max);
      }
    }
  }
}

}  // namespace lychee::attention::reference
