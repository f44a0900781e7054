#include "kernels/norm/rms_norm_backward.h"

#include <cmath>

namespace lychee::norm::reference {

void rms_norm_backward(const RmsNormBackwardParams<double>& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const double* x = p.x + r * p.x_stride;
    const double* dy = p.dy + r * p.dy_stride;
    double* dx = p.dx + r * p.dx_stride;
    double squares = 0;
    double product = 0;  // of x and the gradient of the normalised x
    for (int64_t i = 0; i < p.dim; ++i) {
      squares += x[i] * x[i];
      product += x[i] * dy[i] * double{p.weight[i]};
    }
    const double mean = squares / static_cast<double>(p.dim);
    const double scale = 1 / std::sqrt(mean + double{p.eps});
    const double shift = product * scale * scale / static_cast<double>(p.dim);
    for (int64_t i = 0; i < p.dim; ++i) {
      const double gradient = scale * (dy[i] * double{p.weight[i]} - x[i] * shift);
      dx[i] = p.accumulate ? dx[i] + gradient : gradient;
    }
  }
}

}  // namespace lychee::norm::reference
