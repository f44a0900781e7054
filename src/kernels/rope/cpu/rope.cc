#include "kernels/rope/rope.h"

#include <cmath>

namespace lychee::rope::cpu {

void rope(const RopeParams& p) {
  const int half = p.head_dim / 2;
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p.positions[r]) * static_cast<double>(p.inv_freq[i]);
      const double cosine = std::cos(angle) * static_cast<double>(p.attention_factor);
      const double sine = std::sin(angle) * static_cast<double>(p.attention_factor);
      for (int h = 0; h < p.num_heads; ++h) {
        float* x = p.x + r * p.row_stride + int64_t{h} * p.head_dim;
        const auto a = static_cast<double>(x[i]);
        const auto b = static_cast<double>(x[i + half]);
        x[i] = static_cast<float>(a * cosine - b * sine);
        x[i + half] = static_cast<float>(b * cosine + a * sine);
      }
    }
  }
}

}  // namespace lychee::rope::cpu
