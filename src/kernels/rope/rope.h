#pragma once

#include <cstdint>

struct CUstream_st;

namespace lychee::rope {

// Rotary position embedding in place, rotate-half form: dimension i < head_dim/2 is rotated with
// dimension i + head_dim/2 by the angle position · inv_freq[i]; the result is multiplied by
// `attention_factor` (yarn). Angles are formed in double: at position 1M the product in f32 would
// be off by 0.06 rad.
struct RopeParams {
  int64_t num_rows;  // tokens
  int num_heads;
  int head_dim;              // even
  float* x;                  // [num_rows, num_heads, head_dim], token stride row_stride
  int64_t row_stride;        // elements
  const int64_t* positions;  // [num_rows]
  const float* inv_freq;     // [head_dim / 2]
  float attention_factor;
};

// The cosines and sines of a set of tokens, which all heads and layers share.
struct RopeTableParams {
  int64_t num_rows;          // tokens
  int head_dim;              // even
  const int64_t* positions;  // [num_rows]
  const float* inv_freq;     // [head_dim / 2]
  float attention_factor;
  float* table;  // [num_rows, head_dim]: head_dim / 2 cosines, then as many sines, times the factor
};

// `rope` with its cosines and sines out of a table. With the signs of the sines turned it is its
// own adjoint.
template <typename Real>
struct RopeApplyParamsOf {
  int64_t num_rows;  // tokens
  int num_heads;
  int head_dim;
  Real* x;             // [num_rows, num_heads, head_dim], token stride row_stride
  int64_t row_stride;  // elements
  const Real* table;   // [num_rows, head_dim] of make_rope_table
};
using RopeApplyParams = RopeApplyParamsOf<float>;

namespace reference {
void rope(const RopeParams& params);
// For gradient checks: stored in double too.
void apply_rope_table(const RopeApplyParamsOf<double>& params);
}  // namespace reference
namespace cpu {
void rope(const RopeParams& params);
void make_rope_table(const RopeTableParams& params);
void apply_rope_table(const RopeApplyParams& params);
}  // namespace cpu

namespace cuda {
// Pointers are device memory. Enqueues on `stream`.
void make_rope_table(const RopeTableParams& params, CUstream_st* stream);
void apply_rope_table(const RopeApplyParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::rope
