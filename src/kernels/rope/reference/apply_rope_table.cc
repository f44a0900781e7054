#include "kernels/rope/rope.h"

namespace lychee::rope::reference {

void apply_rope_table(const RopeApplyParamsOf<double>& p) {
  const int half = p.head_dim / 2;
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const double* cosines = p.table + r * p.head_dim;
    const double* sines = cosines + half;
    for (int h = 0; h < p.num_heads; ++h) {
      double* x = p.x + r * p.row_stride + int64_t{h} * p.head_dim;
      for (int i = 0; i < half; ++i) {
        const double a = x[i];
        const double b = x[i + half];
        x[i] = a * cosines[i] - b * sines[i];
        x[i + half] = b * cosines[i] + a * sines[i];
      }
    }
  }
}

}  // namespace lychee::rope::reference
