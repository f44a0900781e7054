#pragma once

#include <cstdint>

namespace lychee::rope {

// Rotary position embedding in place, rotate-half form: dimension i < head_dim/2 is rotated with
// dimension i + head_dim/2 by the angle position · inv_freq[i]; the result is multiplied by
// `attention_factor` (yarn). Angles are formed in double: at position 1M the product in f32 would be
// off by 0.06 rad.
struct RopeParams {
  int64_t num_rows;          // tokens
  int num_heads;
  int head_dim;              // even
  float* x;                  // [num_rows, num_heads, head_dim], token stride row_stride
  int64_t row_stride;        // elements
  const int64_t* positions;  // [num_rows]
  const float* inv_freq;     // [head_dim / 2]
  float attention_factor;
};

namespace reference {
void rope(const RopeParams& params);
}
namespace cpu {
void rope(const RopeParams& params);
}

}  // namespace lychee::rope
