#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lychee::linear {

// dst = src in another dtype, each block of values rounded on its own: the nearest that a block's
// scale allows.
struct QuantizeParams {
  int64_t num_rows;
  int64_t num_columns;  // a multiple of both block sizes
  DType from;
  const std::byte* src;  // [num_rows, num_columns]; may be unaligned
  DType to;              // f32, f16, bf16, q8_0 or q4_0
  std::byte* dst;        // same shape
};

[[nodiscard]] bool can_quantize_to(DType dtype);

namespace cpu {
// Throws Error(kUnsupported) for another `to`.
void quantize(const QuantizeParams& params);
}  // namespace cpu

}  // namespace lychee::linear
