#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"

namespace lychee::linear::cpu {

// Bytes of workspace for all targets, which run one after the other.
[[nodiscard]] int64_t prefill_gemm_bytes(const LinearGroupParams& params);

// Many rows: weights are widened to f32 a panel of outputs at a time, then multiplied by oneDNN.
void prefill_gemm(const LinearGroupParams& params, const LinearTarget& target);

}  // namespace lychee::linear::cpu
