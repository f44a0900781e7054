#include "kernels/activation/silu_mul.h"

#include <cmath>

namespace lychee::activation::reference {

void silu_mul(const SiluMulParams& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int64_t i = 0; i < p.dim; ++i) {
      const auto gate = static_cast<double>(p.gate[r * p.gate_stride + i]);
      const auto up = static_cast<double>(p.up[r * p.up_stride + i]);
      p.y[r * p.y_stride + i] = static_cast<float>(gate / (1 + std::exp(-gate)) * up);
    }
  }
}

}  // namespace lychee::activation::reference
