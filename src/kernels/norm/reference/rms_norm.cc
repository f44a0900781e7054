#include "kernels/norm/rms_norm.h"

#include <cmath>

namespace lychee::norm::reference {
namespace {

template <typename Real>
void normalize(const RmsNormParamsOf<Real>& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const Real* x = p.x + r * p.x_stride;
    double sum = 0;
    for (int64_t i = 0; i < p.dim; ++i) {
      sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    const double scale =
        1 / std::sqrt(sum / static_cast<double>(p.dim) + static_cast<double>(p.eps));
    for (int64_t i = 0; i < p.dim; ++i) {
      p.y[r * p.y_stride + i] =
          static_cast<Real>(static_cast<double>(x[i]) * scale * static_cast<double>(p.weight[i]));
    }
  }
}

}  // namespace

void rms_norm(const RmsNormParams& params) {
  normalize(params);
}

void rms_norm(const RmsNormParamsOf<double>& params) {
  normalize(params);
}

}  // namespace lychee::norm::reference
