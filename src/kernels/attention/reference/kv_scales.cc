#include "kernels/attention/kv_scales.h"

#include <cmath>

namespace lychee::attention::reference {

namespace {

float scale_of(const KvScalesParams& params, const float* values, int64_t kv_head) {
  float max_abs = 0;
  for (int64_t token = 0; token < params.num_tokens; ++token) {
    for (int d = 0; d < params.head_dim; ++d) {
      max_abs = std::fmax(
          max_abs, std::fabs(values[token * params.row_stride + kv_head * params.head_dim + d]));
    }
  }
  return fp8_kv_scale(max_abs);
}

}  // namespace

void kv_scales(const KvScalesParams& params) {
  for (int head = 0; head < params.num_kv_heads; ++head) {
    params.k_scales[head] = scale_of(params, params.k, head);
    params.v_scales[head] = scale_of(params, params.v, head);
  }
}

}  // namespace lychee::attention::reference
