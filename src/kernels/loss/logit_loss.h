#pragma once

#include <cstdint>

struct CUstream_st;

namespace lychee::loss {

// How far the student's logits are from the teacher's, row by row.
template <typename Real>
struct LogitLossParams {
  int64_t num_rows;
  int64_t vocab_size;
  const Real* teacher;  // [num_rows, vocab_size]
  Real* student;        // same; replaced by the gradient of scale · (sum of all rows' losses)
  double scale;
  double* loss;  // [num_rows], without the scale
};

namespace reference {
// KL(teacher ‖ student) of the softmax of both, and the mean square of the differences.
void kl_divergence(const LogitLossParams<double>& params);
void mean_square(const LogitLossParams<double>& params);
}  // namespace reference

namespace cpu {
void kl_divergence(const LogitLossParams<float>& params);
void mean_square(const LogitLossParams<float>& params);
}  // namespace cpu

namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void kl_divergence(const LogitLossParams<float>& params, CUstream_st* stream);
void mean_square(const LogitLossParams<float>& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::loss
