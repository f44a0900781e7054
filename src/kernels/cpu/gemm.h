#pragma once

#include <cstdint>

namespace lychee::cpu {

// C (+)= op(A) · op(B) in f32, row-major. Called inside a parallel region it runs on that thread.
struct GemmParams {
  int64_t rows;
  int64_t columns;
  int64_t inner;
  const float* a;  // [rows, inner]; with transpose_a [inner, rows]
  int64_t a_stride;
  bool transpose_a = false;
  const float* b;  // [inner, columns]; with transpose_b [columns, inner]
  int64_t b_stride;
  bool transpose_b = false;
  float* c;  // [rows, columns]
  int64_t c_stride;
  bool accumulate = false;  // adds to C instead of overwriting it
};

void gemm(const GemmParams& params);

}  // namespace lychee::cpu
