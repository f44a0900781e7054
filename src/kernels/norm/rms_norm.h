#pragma once

#include <cstdint>

namespace lychee::norm {

// y[r] = x[r] / sqrt(mean(x[r]²) + eps) · weight. y may be x.
struct RmsNormParams {
  int64_t num_rows;
  int64_t dim;
  const float* x;       // [num_rows, dim], row stride x_stride
  int64_t x_stride;     // elements
  const float* weight;  // [dim]
  float eps;
  float* y;          // [num_rows, dim], row stride y_stride
  int64_t y_stride;  // elements
};

namespace reference {
void rms_norm(const RmsNormParams& params);
}
namespace cpu {
void rms_norm(const RmsNormParams& params);
}

}  // namespace lychee::norm
