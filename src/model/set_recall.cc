#include "model/set_recall.h"

#include <cmath>

#include "kernels/attention/hybrid_decode.h"

namespace lychee::model {

using attention::HybridDecodeParams;

namespace {

// The lse of `row` with all heads dense, [num_q_heads].
std::vector<float> dense_lse(const HybridDecodeParams& step, int64_t row, Scratch& scratch) {
  const std::vector<int32_t> all_dense(static_cast<size_t>(step.num_kv_heads),
                                       HybridDecodeParams::kDense);
  std::vector<float> out(static_cast<size_t>(step.num_q_heads * step.head_dim));
  std::vector<float> lse(static_cast<size_t>(step.num_q_heads));
  HybridDecodeParams dense = step;
  dense.batch = 1;
  dense.q = step.q + row * step.num_q_heads * step.head_dim;
  dense.page_tables = step.page_tables + row * step.page_table_stride;
  dense.kv_lens = step.kv_lens + row;
  dense.set_of_head = all_dense.data();
  dense.scores = nullptr;
  dense.emit_scores = nullptr;
  dense.out = out.data();
  dense.lse = lse.data();
  dense.workspace = scratch.take(attention::cpu::hybrid_decode_workspace_bytes(dense));
  attention::cpu::hybrid_decode(dense);
  return lse;
}

}  // namespace

// The mass of a set = exp(lse over the set - lse over everything).
std::vector<double> set_recalls(const HybridDecodeParams& step, int64_t row, Scratch& scratch) {
  const std::vector<float> lse = dense_lse(step, row, scratch);
  const int group_size = step.num_q_heads / step.num_kv_heads;
  std::vector<double> recalls(static_cast<size_t>(step.num_kv_heads));
  for (int head = 0; head < step.num_kv_heads; ++head) {
    double sum = 0;
    for (int g = head * group_size; g < (head + 1) * group_size; ++g) {
      const float set_lse = step.lse[row * step.num_q_heads + g];
      sum +=
          std::exp(static_cast<double>(set_lse) - static_cast<double>(lse[static_cast<size_t>(g)]));
    }
    recalls[static_cast<size_t>(head)] = sum / group_size;
  }
  return recalls;
}

}  // namespace lychee::model
