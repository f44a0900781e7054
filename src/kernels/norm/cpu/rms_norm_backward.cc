#include "kernels/norm/rms_norm_backward.h"

#include <cmath>

namespace lychee::norm::cpu {

void rms_norm_backward(const RmsNormBackwardParams<float>& p) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    const float* dy = p.dy + r * p.dy_stride;
    float* dx = p.dx + r * p.dx_stride;
    float squares = 0;
    float product = 0;  // of x and the gradient of the normalised x
    for (int64_t i = 0; i < p.dim; ++i) {
      squares += x[i] * x[i];
      product += x[i] * dy[i] * p.weight[i];
    }
    const float mean = squares / static_cast<float>(p.dim);
    const float scale = 1 / std::sqrt(mean + p.eps);
    const float shift = product * scale * scale / static_cast<float>(p.dim);
    for (int64_t i = 0; i < p.dim; ++i) {
      const float gradient = scale * (dy[i] * p.weight[i] - x[i] * shift);
      dx[i] = p.accumulate ? dx[i] + gradient : gradient;
    }
  }
}

}  // namespace lychee::norm::cpu
