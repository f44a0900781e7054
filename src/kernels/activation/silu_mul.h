#pragma once

#include <cstdint>

namespace lychee::activation {

// y[r, i] = silu(gate[r, i]) · up[r, i], the inside of SwiGLU. y may be gate or up.
struct SiluMulParams {
  int64_t num_rows;
  int64_t dim;
  const float* gate;    // [num_rows, dim], row stride gate_stride
  const float* up;      // [num_rows, dim], row stride up_stride
  int64_t gate_stride;  // elements
  int64_t up_stride;
  float* y;  // [num_rows, dim], row stride y_stride
  int64_t y_stride;
};

namespace reference {
void silu_mul(const SiluMulParams& params);
}
namespace cpu {
void silu_mul(const SiluMulParams& params);
}

}  // namespace lychee::activation
