#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lychee::linear::cpu {

// A block of a quantised dtype taken apart. A value is scale · code + min, where, by dtype,
//  - Q4_0, Q5_0, Q8_0: the scale is f16; the code is unsigned with 8, 16 or nothing (Q8_0's are
//    signed bytes) to be subtracted from it;
//  - Q4_1, Q5_1: scale and min are f16;
//  - Q4_K, Q5_K: the scale is d · scales[i], the min -dmin · mins[i];
//  - Q6_K: the scale is d · scales[i] (a signed byte) for 16 values; the code counts from -32.
struct BlockCodes {
  uint8_t codes[256];
  uint16_t scales[16];  // a group each: f16 bits, or integers of K-quants
  uint16_t mins[8];
  uint16_t d, dmin;  // f16 bits
};
[[nodiscard]] BlockCodes block_codes(DType dtype, const std::byte* block);

}  // namespace lychee::linear::cpu
