#pragma once

#include <cstdint>

#include "kernels/linear/linear.h"

namespace lychee::linear::cpu {

// Outputs [begin, end) of a target in f32. F32, F16 and BF16 weights are widened in registers, the
// quantised ones row by row into `scratch` [in_features], which belongs to the calling thread.
void float_outputs(const LinearGroupParams& params, const LinearTarget& target, int64_t begin,
                   int64_t end, float* scratch);

}  // namespace lychee::linear::cpu
