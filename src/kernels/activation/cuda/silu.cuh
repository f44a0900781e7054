#pragma once

#include <cuda_runtime.h>

namespace lychee::activation::cuda {

// silu(gate) · up. Below -88 exp(-gate) overflows, and -inf over it would be NaN; silu(-88) is
// already less than the smallest normal number.
__device__ inline float silu_mul_value(float gate, float up) {
  return gate < -88.0F ? 0.0F : gate / (1.0F + __expf(-gate)) * up;
}

}  // namespace lychee::activation::cuda
