#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention/params.h"
#include "tensor/scratch.h"

namespace lychee::model {

// The softmax mass that a set covers, mean over query heads, from the logs of their softmax sums
// over the set and over everything.
[[nodiscard]] double covered_mass(std::span<const float> set_lse, std::span<const float> dense_lse);

// The softmax mass that the heads of one row of a decode step read, of all there is, mean over the
// query heads of each KV head, [num_kv_heads]. `step` was run on the CPU with an `lse`.
[[nodiscard]] std::vector<double> set_recalls(const attention::HybridDecodeParams& step,
                                              int64_t row, Scratch& scratch);

}  // namespace lychee::model
