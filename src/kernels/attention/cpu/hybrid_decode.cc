#include "kernels/attention/hybrid_decode.h"

#include "kernels/attention/cpu/plain_attention.h"

namespace lychee::attention::cpu {

namespace {

void emit_scores(const HybridDecodeParams& params, int64_t item, const int32_t* page_table) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const int64_t head = item % params.num_kv_heads;
  float mean[kMaxHeadDim] = {};
  for (int g = 0; g < group_size; ++g) {
    for (int d = 0; d < params.head_dim; ++d) {
      mean[d] += params.q[(item * group_size + g) * params.head_dim + d];
    }
  }
  for (int64_t position = 0; position < params.kv_lens[item / params.num_kv_heads]; ++position) {
    const int64_t offset = kv_offset(params.kv, page_table, position, head);
    float score = 0;
    for (int d = 0; d < params.head_dim; ++d) {
      score += mean[d] / static_cast<float>(group_size) *
               load_kv(params.kv.dtype, params.kv.k, offset + d);
    }
    params.scores[item * params.scores_stride + position] = score;
  }
}

}  // namespace

int64_t hybrid_decode_workspace_bytes(const HybridDecodeParams& /*params*/) {
  return 0;
}

void hybrid_decode(const HybridDecodeParams& params) {
  require_kv_dtype(params.kv);
  const int group_size = params.num_q_heads / params.num_kv_heads;
#pragma omp parallel for schedule(dynamic)
  for (int64_t q_row = 0; q_row < int64_t{params.batch} * params.num_q_heads; ++q_row) {
    const int64_t item = q_row / group_size;
    const int64_t row = item / params.num_kv_heads;
    const int32_t* page_table = params.page_tables + row * params.page_table_stride;
    const int64_t set = params.set_of_head[item];
    const bool dense = set == HybridDecodeParams::kDense;
    const int32_t* ids = dense ? nullptr : params.token_ids + set * params.token_ids_stride;
    const float lse = plain_attention(
        params.q + q_row * params.head_dim, params.kv, page_table, item % params.num_kv_heads,
        dense ? params.kv_lens[row] : params.num_ids[set],
        [&](int64_t i) { return dense ? i : int64_t{ids[i]}; }, params.head_dim, params.scale,
        params.out + q_row * params.head_dim);
    if (params.lse != nullptr) {
      params.lse[q_row] = lse;
    }
    if (dense && q_row % group_size == 0 && params.scores != nullptr &&
        params.emit_scores != nullptr && params.emit_scores[item] != 0) {
      emit_scores(params, item, page_table);
    }
  }
}

}  // namespace lychee::attention::cpu
