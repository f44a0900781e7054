#pragma once

#include <bit>
#include <cstdint>

namespace lychee::attention::cpu {

// An integer that orders like the score: -0 equals +0, NaN equals -inf. Integers, because they
// keep denormals apart whatever the processor's flush-to-zero mode is.
[[nodiscard]] inline uint32_t score_key(float score) {
  constexpr uint32_t kSign = 0x80000000;
  constexpr uint32_t kInf = 0x7f800000;
  const uint32_t bits = std::bit_cast<uint32_t>(score);
  const uint32_t magnitude = bits & ~kSign;
  if (magnitude > kInf) {
    return kSign - kInf;
  }
  return (bits & kSign) != 0 ? kSign - magnitude : kSign + magnitude;
}

}  // namespace lychee::attention::cpu
