#include "kernels/activation/silu_mul_backward.h"

#include <cmath>

namespace lychee::activation::reference {

void silu_mul_backward(const SiluMulBackwardParams<double>& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int64_t i = r * p.stride; i < r * p.stride + p.dim; ++i) {
      const double gate = p.gate[i];
      const double up = p.up[i];
      const double dy = p.dy[i];
      const double sigmoid = 1 / (1 + std::exp(-gate));
      p.d_gate[i] = dy * up * sigmoid * (1 + gate * (1 - sigmoid));
      p.d_up[i] = dy * gate * sigmoid;
    }
  }
}

}  // namespace lychee::activation::reference
