#pragma once

#include <cmath>
#include <limits>

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::cpu {

constexpr int kMaxHeadDim = 256;

// Online softmax of one query over positions position_of(0 … count - 1); returns the log of the
// sum.
template <typename PositionOf>
float plain_attention(const float* q, const PagedKv& kv, const int32_t* page_table, int64_t head,
                      int64_t count, const PositionOf& position_of, int head_dim, float scale,
                      float* out) {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
  float acc[kMaxHeadDim] = {};
  for (int64_t i = 0; i < count; ++i) {
    const int64_t offset = kv_offset(kv, page_table, position_of(i), head);
    float score = 0;
    for (int d = 0; d < head_dim; ++d) {
      score += q[d] * load_kv(kv.dtype, kv.k, offset + d);
    }
    score *= scale;
    const float new_max = std::fmax(max, score);
    const float rescale = std::exp(max - new_max);
    const float weight = std::exp(score - new_max);
    for (int d = 0; d < head_dim; ++d) {
      acc[d] = acc[d] * rescale + weight * load_kv(kv.dtype, kv.v, offset + d);
    }
    sum = sum * rescale + weight;
    max = new_max;
  }
  for (int d = 0; d < head_dim; ++d) {
    out[d] = sum == 0 ? 0.0F : acc[d] / sum;
  }
  return sum == 0 ? -std::numeric_limits<float>::infinity() : max + std::log(sum);
}

}  // namespace lychee::attention::cpu
