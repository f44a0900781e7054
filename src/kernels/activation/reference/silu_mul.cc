#include "kernels/activation/silu_mul.h"

#include <cmath>

namespace lychee::activation::reference {
namespace {

template <typename Real>
void multiply(const SiluMulParamsOf<Real>& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int64_t i = 0; i < p.dim; ++i) {
      const auto gate = static_cast<double>(p.gate[r * p.gate_stride + i]);
      const auto up = static_cast<double>(p.up[r * p.up_stride + i]);
      p.y[r * p.y_stride + i] = static_cast<Real>(gate / (1 + std::exp(-gate)) * up);
    }
  }
}

}  // namespace

void silu_mul(const SiluMulParams& params) {
  multiply(params);
}

void silu_mul(const SiluMulParamsOf<double>& params) {
  multiply(params);
}

}  // namespace lychee::activation::reference
