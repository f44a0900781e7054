#include "kernels/attention/page_summary.h"

#include <algorithm>
#include <limits>

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::cpu {

void page_summary(const PageSummaryParams& params) {
  require_kv_dtype(params.kv);
  const int64_t num_pages = (params.kv_len + kBoundPageSize - 1) / kBoundPageSize;
#pragma omp parallel for
  for (int64_t page = params.first_page; page < num_pages; ++page) {
    const int64_t end = std::min((page + 1) * kBoundPageSize, params.kv_len);
    for (int64_t head = 0; head < params.num_kv_heads; ++head) {
      const int64_t to = (page * params.num_kv_heads + head) * params.head_dim;
      std::fill_n(params.k_min + to, params.head_dim, std::numeric_limits<float>::infinity());
      std::fill_n(params.k_max + to, params.head_dim, -std::numeric_limits<float>::infinity());
      for (int64_t position = page * kBoundPageSize; position < end; ++position) {
        const int64_t offset = kv_offset(params.kv, params.page_table, position, head);
        for (int d = 0; d < params.head_dim; ++d) {
          const float k = load_kv(params.kv.dtype, params.kv.k, offset + d);
          params.k_min[to + d] = std::min(params.k_min[to + d], k);
          params.k_max[to + d] = std::max(params.k_max[to + d], k);
        }
      }
    }
  }
}

}  // namespace lychee::attention::cpu
