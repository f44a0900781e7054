#pragma once

#include <cstdint>

namespace lychee::attention::cpu {

// Turns raw scores into softmax weights: weights[i] = softmax(scores · scale + bias)[i] for i < n,
// and 0 for n <= i < padded. `bias` is 0 in the token set and -inf outside; null: no set. weights
// may be scores. Picks the best instruction set at run time, as all below.
struct SoftmaxRow {
  const float* scores;
  const float* bias;
  float scale;
  int64_t n;
  int64_t padded;
  float* weights;
};
void softmax_row(const SoftmaxRow& row);

// dense = z · dense + (1 - z) · sparse
void blend_row(float z, int64_t count, const float* sparse, float* dense);

// One query row of the adjoint. In: dense and sparse weights and the gradient of the blended
// weights. Out: dense holds the blended weights and d_weights the gradient of the raw scores;
// returns d_z. sparse may be null when z is 1; then it returns 0.
struct BlendRowBackward {
  float z;
  float scale;
  int64_t count;
  float* dense;
  const float* sparse;
  float* d_weights;
};
[[nodiscard]] double blend_row_backward(const BlendRowBackward& row);

}  // namespace lychee::attention::cpu
