#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/linear/device_weight.h"
#include "tensor/dtype.h"

namespace lychee::linear::cuda {

// Rows of a weight as plain values: row r of `dst` becomes row ids[r], or first_row + r where ids
// is null. Exactly one of the outputs is given; what does not fit into bf16 is rounded.
struct WidenParams {
  DeviceWeight weight;
  int64_t num_rows;
  const int32_t* ids;  // [num_rows] or null
  int64_t first_row;
  float* dst;      // [num_rows, in_features], row stride dst_stride, or null
  bf16* dst_bf16;  // the same, or null
  int64_t dst_stride;
};
void widen(const WidenParams& params, cudaStream_t stream);

// Elements between rows that are widened or rounded for cuBLASLt: as between those of plain
// weights.
[[nodiscard]] inline int64_t plain_row_stride(int64_t width) {
  return device_row_stride(DeviceFormat::kBF16, width);
}

// y = bf16(x), zeros from in_features to y_stride.
void round_rows(int64_t num_rows, int64_t in_features, const float* x, int64_t x_stride, bf16* y,
                int64_t y_stride, cudaStream_t stream);

// y[r, o] (+)= sum_i x[r, i] · weight[o, i] + bias[o] in f32, each output by one warp.
struct PlainParams {
  int64_t num_rows, out_features, in_features;
  const float* x;
  int64_t x_stride;
  const float* weight;  // [out_features, in_features], row stride weight_stride
  int64_t weight_stride;
  const float* bias;  // or null
  float* y;
  int64_t y_stride;
  bool accumulate;
};
void plain_linear(const PlainParams& params, cudaStream_t stream);

}  // namespace lychee::linear::cuda
