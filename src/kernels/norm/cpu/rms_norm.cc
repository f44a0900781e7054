#include "kernels/norm/rms_norm.h"

#include <cmath>

namespace lychee::norm::cpu {

void rms_norm(const RmsNormParams& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const float* x = p.x + r * p.x_stride;
    double sum = 0;
    for (int64_t i = 0; i < p.dim; ++i) {
      sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    const double scale =
        1 / std::sqrt(sum / static_cast<double>(p.dim) + static_cast<double>(p.eps));
    for (int64_t i = 0; i < p.dim; ++i) {
      p.y[r * p.y_stride + i] =
          static_cast<float>(static_cast<double>(x[i]) * scale * static_cast<double>(p.weight[i]));
    }
  }
}

}  // namespace lychee::norm::cpu
