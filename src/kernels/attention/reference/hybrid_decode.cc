#include "kernels/attention/hybrid_decode.h"

#include <numeric>
#include <vector>

#include "kernels/attention/reference/softmax_attention.h"

namespace lychee::attention::reference {

namespace {

void emit_scores(const HybridDecodeParams& params, const KvHead& kv_head, const float* q,
                 int group_size, int64_t kv_len, float* scores) {
  std::vector<double> mean(static_cast<size_t>(params.head_dim), 0.0);
  for (int g = 0; g < group_size; ++g) {
    for (int d = 0; d < params.head_dim; ++d) {
      mean[static_cast<size_t>(d)] += double{q[int64_t{g} * params.head_dim + d]} / group_size;
    }
  }
  for (int64_t position = 0; position < kv_len; ++position) {
    scores[position] = static_cast<float>(dot(mean.data(), kv_head, position, params.head_dim));
  }
}

}  // namespace

void hybrid_decode(const HybridDecodeParams& params) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  for (int64_t item = 0; item < int64_t{params.batch} * params.num_kv_heads; ++item) {
    const int64_t row = item / params.num_kv_heads;
    const KvHead kv_head{params.kv, params.page_tables + row * params.page_table_stride,
                         item % params.num_kv_heads};
    std::vector<int64_t> positions;
    const int64_t set = params.set_of_head[item];
    if (set == HybridDecodeParams::kDense) {
      positions.resize(static_cast<size_t>(params.kv_lens[row]));
      std::iota(positions.begin(), positions.end(), 0);
    } else {
      const int32_t* ids = params.token_ids + set * params.token_ids_stride;
      positions.assign(ids, ids + params.num_ids[set]);
    }
    const float* q = params.q + item * group_size * params.head_dim;
    for (int g = 0; g < group_size; ++g) {
      const int64_t q_row = item * group_size + g;
      const std::vector<double> query(params.q + q_row * params.head_dim,
                                      params.q + (q_row + 1) * params.head_dim);
      const double lse =
          softmax_attention(query.data(), kv_head, positions, params.head_dim, double{params.scale},
                            params.out + q_row * params.head_dim);
      if (params.lse != nullptr) {
        params.lse[q_row] = static_cast<float>(lse);
      }
    }
    if (set == HybridDecodeParams::kDense && params.scores != nullptr &&
        params.emit_scores != nullptr && params.emit_scores[item] != 0) {
      emit_scores(params, kv_head, q, group_size, params.kv_lens[row],
                  params.scores + item * params.scores_stride);
    }
  }
}

}  // namespace lychee::attention::reference
