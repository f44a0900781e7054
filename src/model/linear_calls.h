#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"
#include "model/weights.h"

namespace lychee::model {

// Arguments of kernels as the weights of a model fill them in: what the decoder and training, whose
// buffers differ, have in common.

[[nodiscard]] inline const float* bias_of(const LinearWeights& weights) {
  return weights.bias.empty() ? nullptr : weights.bias.data();
}

// Contiguous rows, overwritten, in exact arithmetic; without the workspace.
template <typename Real>
[[nodiscard]] linear::LinearParamsOf<Real> linear_params(const LinearWeights& weights, int64_t rows,
                                                         const Real* x, Real* y) {
  return {.num_rows = rows,
          .in_features = weights.in_features,
          .out_features = weights.out_features,
          .x = x,
          .x_stride = weights.in_features,
          .weight_dtype = weights.dtype,
          .weight = weights.weight,
          .bias = bias_of(weights),
          .y = y,
          .y_stride = weights.out_features,
          .accumulate = false,
          .exact = true,
          .workspace = nullptr};
}

[[nodiscard]] inline linear::LinearTarget linear_target(const LinearWeights& weights, float* y) {
  return {.out_features = weights.out_features,
          .weight_dtype = weights.dtype,
          .weight = weights.weight,
          .bias = bias_of(weights),
          .y = y,
          .y_stride = weights.out_features};
}

// The row of a token, [hidden_size].
inline void embed(const TensorView& embedding, int32_t token_id, int hidden_size, float* row) {
  const int64_t row_bytes = dtype_bytes(embedding.dtype, hidden_size);
  linear::dequantize(embedding.dtype, embedding.data + token_id * row_bytes, hidden_size, row);
}

}  // namespace lychee::model
