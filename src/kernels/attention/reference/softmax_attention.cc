#include "kernels/attention/reference/softmax_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::reference {

double dot(const double* q, const KvHead& kv_head, int64_t position, int head_dim) {
  const int64_t offset = kv_offset(kv_head.kv, kv_head.page_table, position, kv_head.head);
  double sum = 0;
  for (int d = 0; d < head_dim; ++d) {
    sum += q[d] * double{load_kv(kv_head.kv.dtype, kv_head.kv.k, offset + d)};
  }
  return sum * double{kv_scale(kv_head.kv.k_scales, kv_head.head)};
}

double softmax_attention(const double* q, const KvHead& kv_head,
                         const std::vector<int64_t>& positions, int head_dim, double scale,
                         float* out) {
  std::fill_n(out, head_dim, 0.0F);
  if (positions.empty()) {
    return -std::numeric_limits<double>::infinity();
  }
  std::vector<double> weights;
  weights.reserve(positions.size());
  for (const int64_t position : positions) {
    weights.push_back(scale * dot(q, kv_head, position, head_dim));
  }
  const double max = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights) {
    weight = std::exp(weight - max);
    sum += weight;
  }
  std::vector<double> acc(static_cast<size_t>(head_dim), 0.0);
  for (size_t i = 0; i < positions.size(); ++i) {
    const int64_t offset = kv_offset(kv_head.kv, kv_head.page_table, positions[i], kv_head.head);
    for (int d = 0; d < head_dim; ++d) {
      acc[static_cast<size_t>(d)] +=
          weights[i] * double{load_kv(kv_head.kv.dtype, kv_head.kv.v, offset + d)};
    }
  }
  const double scale_of_v{kv_scale(kv_head.kv.v_scales, kv_head.head)};
  for (int d = 0; d < head_dim; ++d) {
    out[d] = static_cast<float>(acc[static_cast<size_t>(d)] / sum * scale_of_v);
  }
  return max + std::log(sum);
}

}  // namespace lychee::attention::reference
