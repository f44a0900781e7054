#include "kernels/attention/kv_append.h"

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::cpu {

void kv_append(const KvAppendParams& params) {
  require_kv_dtype(params.kv);
#pragma omp parallel for
  for (int64_t token = 0; token < params.num_tokens; ++token) {
    for (int head = 0; head < params.num_kv_heads; ++head) {
      const int64_t to =
          kv_offset(params.kv, params.page_table, params.first_position + token, head);
      const int64_t from = token * params.row_stride + int64_t{head} * params.head_dim;
      for (int d = 0; d < params.head_dim; ++d) {
        store_kv(params.kv.dtype, params.kv.k, to + d, params.k[from + d]);
        store_kv(params.kv.dtype, params.kv.v, to + d, params.v[from + d]);
      }
    }
  }
}

}  // namespace lychee::attention::cpu
