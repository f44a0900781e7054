#include "kernels/attention/kv_append.h"

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::reference {

void kv_append(const KvAppendParams& params) {
  for (int64_t token = 0; token < params.num_tokens; ++token) {
    for (int head = 0; head < params.num_kv_heads; ++head) {
      const int64_t to =
          kv_offset(params.kv, params.page_table, params.first_position + token, head);
      const int64_t from = token * params.row_stride + int64_t{head} * params.head_dim;
      const float k_scale = kv_scale(params.kv.k_scales, head);
      const float v_scale = kv_scale(params.kv.v_scales, head);
      for (int d = 0; d < params.head_dim; ++d) {
        store_kv(params.kv.dtype, params.kv.k, to + d, params.k[from + d] / k_scale);
        store_kv(params.kv.dtype, params.kv.v, to + d, params.v[from + d] / v_scale);
      }
    }
  }
}

}  // namespace lychee::attention::reference
