#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

// The scale of K or V of a head whose values reach `max_abs`: what is stored is the value divided
// by it.
//
// A power of two, so that scaling is exact: of two scales, values that are normal numbers of e4m3
// under both are rounded alike, and what is computed hardly depends on which of them was chosen.
// With it, max_abs is stored as 28 to 56, which leaves a factor of 8 to 16 below e4m3's 448 for
// outliers that come later (beyond it, stores saturate), and 2^11 above its smallest normal number,
// 2^-6. 1 for a head of zeros, or of values that are not finite.
[[nodiscard]] constexpr float fp8_kv_scale(float max_abs) {
  if (!(max_abs > 0) || max_abs > std::numeric_limits<float>::max()) {
    return 1;
  }
  constexpr float kStoredMax = 56;
  constexpr int kBias = 127;
  constexpr int kMantissaBits = 23;
  constexpr int kMinExponent = -100;  // quotients must not overflow
  const auto bits = std::bit_cast<uint32_t>(max_abs / kStoredMax);
  const int exponent = std::max(static_cast<int>(bits >> kMantissaBits) - kBias + 1, kMinExponent);
  return std::bit_cast<float>(static_cast<uint32_t>(exponent + kBias) << kMantissaBits);
}

namespace reference {
void kv_scales(const KvScalesParams& params);
}  // namespace reference

namespace cuda {
void kv_scales(const KvScalesParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
