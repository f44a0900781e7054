#pragma once

#include <cstdint>

#include "kernels/linear/cpu/rounded_rows.h"
#include "kernels/linear/linear.h"

namespace lychee::linear::cpu {

// Sums formed at a time: of four outputs for one row, which share its activations, or of one output
// for four rows, which share the unpacked weights. Either way a sum adds up in the same order.
constexpr int kSums = 4;

// Floats of scratch that int8_outputs needs.
[[nodiscard]] int64_t int8_scratch_floats(int64_t in_features);

// Outputs [begin, end) of a quantised target for `num_rows` rounded rows, in integer products per
// group. `scratch` belongs to the calling thread.
void int8_outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
                  int64_t in_features, bool accumulate, int64_t begin, int64_t end, float* scratch);

}  // namespace lychee::linear::cpu
