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

double covered_mass(std::span<const float> set_lse, std::span<const float> dense_lse) {
  double sum = 0;
  for (size_t i = 0; i < set_lse.size(); ++i) {
    sum += std::exp(double{set_lse[i]} - double{dense_lse[i]});
  }
  return sum / static_cast<double>(set_lse.size());
}

std::vector<double> set_recalls(const HybridDecodeParams& step, int64_t row, Scratch& scratch) {
  const std::vector<float> dense = dense_lse(step, row, scratch);
  const auto group_size = static_cast<size_t>(step.num_q_heads / step.num_kv_heads);
  const std::span<const float> set_lse(step.lse + row * step.num_q_heads, dense.size());
  std::vector<double> recalls;
  for (size_t first = 0; first < dense.size(); first += group_size) {
    recalls.push_back(covered_mass(set_lse.subspan(first, group_size),
                                   std::span(dense).subspan(first, group_size)));
  }
  return recalls;
}

}  // namespace lychee::model
