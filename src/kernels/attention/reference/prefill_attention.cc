#include "kernels/attention/prefill_attention.h"

#include <numeric>
#include <vector>

#include "kernels/attention/reference/softmax_attention.h"

namespace lychee::attention::reference {

void prefill_attention(const PrefillAttentionParams& params) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  for (int64_t token = 0; token < params.num_tokens; ++token) {
    std::vector<int64_t> positions(static_cast<size_t>(params.first_position + token + 1));
    std::iota(positions.begin(), positions.end(), 0);
    for (int64_t head = 0; head < params.num_q_heads; ++head) {
      const KvHead kv_head{params.kv, params.page_table, head / group_size};
      const float* q = params.q + token * params.q_row_stride + head * params.head_dim;
      const std::vector<double> query(q, q + params.head_dim);
      softmax_attention(query.data(), kv_head, positions, params.head_dim, double{params.scale},
                        params.out + (token * params.num_q_heads + head) * params.head_dim);
    }
  }
}

}  // namespace lychee::attention::reference
