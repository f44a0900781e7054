#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace lychee::linear {

// y[r, o] (+)= sum_i x[r, i] · W[o, i] + bias[o]
template <typename Real>
struct LinearParamsOf {
  int64_t num_rows;     // tokens
  int64_t in_features;  // a multiple of the weight's block size
  int64_t out_features;
  const Real* x;     // [num_rows, in_features], row stride x_stride
  int64_t x_stride;  // elements
  DType weight_dtype;
  const std::byte* weight;  // [out_features, in_features] row-major in blocks; may be unaligned
  const float* bias;        // [out_features] or null
  Real* y;                  // [num_rows, out_features], row stride y_stride
  int64_t y_stride;         // elements
  bool accumulate;          // adds to y (the residual) instead of overwriting it
  // f32 activations throughout. Otherwise activations may be rounded to int8 in groups of 32 before
  // quantised weights and, beyond kMaxDecodeRows rows, to bf16 (algorithm.md, Numerics).
  bool exact;
  void* workspace;  // linear_workspace_bytes(params), aligned to 64 bytes
};
using LinearParams = LinearParamsOf<float>;

// One of several weights that multiply the same activations: Q, K and V, or gate and up.
struct LinearTarget {
  int64_t out_features;
  DType weight_dtype;
  const std::byte* weight;  // [out_features, in_features] as in LinearParams
  const float* bias;        // [out_features] or null
  float* y;                 // [num_rows, out_features], row stride y_stride
  int64_t y_stride;         // elements
};

// `linear` for each target, to the bit, but the activations are rounded once and the threads start
// once: what a decode step of a small model spends on that exceeds its arithmetic.
struct LinearGroupParams {
  int64_t num_rows;
  int64_t in_features;
  const float* x;  // [num_rows, in_features], row stride x_stride
  int64_t x_stride;
  std::span<const LinearTarget> targets;
  bool accumulate;
  bool exact;
  void* workspace;  // linear_group_workspace_bytes(params), aligned to 64 bytes
};

// Up to this many rows, what a row computes does not depend on how many rows go with it.
constexpr int64_t kMaxDecodeRows = 64;

// Widens `count` values (a multiple of the block size) of any dtype to f32, at the file's value.
void dequantize(DType dtype, const std::byte* src, int64_t count, float* dst);

namespace reference {
// Weights at their file's value, accumulated in double.
void linear(const LinearParams& params);
// For gradient checks: stored in double too.
void linear(const LinearParamsOf<double>& params);
}  // namespace reference

namespace cpu {
// Never less for more rows, so that what a chunk of prefill needs also serves decoding.
[[nodiscard]] int64_t linear_workspace_bytes(const LinearParams& params);
// Reads every weight byte once for num_rows <= kMaxDecodeRows.
void linear(const LinearParams& params);

[[nodiscard]] int64_t linear_group_workspace_bytes(const LinearGroupParams& params);
void linear_group(const LinearGroupParams& params);
}  // namespace cpu

}  // namespace lychee::linear
