#include "kernels/attention/cpu/softmax_state.h"

#include <algorithm>

namespace lychee::attention::cpu {

SoftmaxState merge_states(const SoftmaxState* states, int64_t state_stride, const float* acc,
                          int64_t acc_stride, int64_t parts, int head_dim, float* out) {
  SoftmaxState merged;
  for (int64_t part = 0; part < parts; ++part) {
    merged.max = std::max(merged.max, states[part * state_stride].max);
  }
  std::fill_n(out, head_dim, 0.0F);
  for (int64_t part = 0; part < parts; ++part) {
    const SoftmaxState& state = states[part * state_stride];
    const float rescale = std::exp2(state.base() - merged.base());
    const float* from = acc + part * acc_stride;
    merged.sum += state.sum * rescale;
    for (int d = 0; d < head_dim; ++d) {
      out[d] += from[d] * rescale;
    }
  }
  const float norm = merged.sum == 0 ? 0 : 1 / merged.sum;
  for (int d = 0; d < head_dim; ++d) {
    out[d] *= norm;
  }
  return merged;
}

}  // namespace lychee::attention::cpu
