#include "kernels/attention/prefill_attention.h"

#include "kernels/attention/cpu/plain_attention.h"

namespace lychee::attention::cpu {

int64_t prefill_attention_workspace_bytes(const PrefillAttentionParams& /*params*/) {
  return 0;
}

void prefill_attention(const PrefillAttentionParams& params) {
  require_kv_dtype(params.kv);
  const int group_size = params.num_q_heads / params.num_kv_heads;
#pragma omp parallel for schedule(dynamic) collapse(2)
  for (int64_t token = 0; token < params.num_tokens; ++token) {
    for (int64_t head = 0; head < params.num_q_heads; ++head) {
      plain_attention(
          params.q + token * params.q_row_stride + head * params.head_dim, params.kv,
          params.page_table, head / group_size, params.first_position + token + 1,
          [](int64_t i) { return i; }, params.head_dim, params.scale,
          params.out + (token * params.num_q_heads + head) * params.head_dim);
    }
  }
}

}  // namespace lychee::attention::cpu
