#pragma once

#include "kernels/cuda/lanes.cuh"

namespace lychee::attention::cuda {

// Below every score, and finite: differences of two stay numbers.
constexpr float kNoScore = -1e30F;

// Sums of 2^(x - max) over scores x in base 2, and of the same times d_weight.
struct SoftmaxSums {
  float max = kNoScore;
  float sum = 0;
  float d_sum = 0;

  __device__ void raise_max(float new_max) {
    if (new_max > max) {
      const float factor = exp2_approx(max - new_max);
      sum *= factor;
      d_sum *= factor;
      max = new_max;
    }
  }
  __device__ void add(SoftmaxSums other) {
    raise_max(other.max);
    other.raise_max(max);
    sum += other.sum;
    d_sum += other.d_sum;
  }
};

}  // namespace lychee::attention::cuda
