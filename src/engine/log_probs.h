#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace lychee::engine {

// Of a row of logits, in double: the log of the sum of their exponentials. A logit less this is its
// log-probability.
[[nodiscard]] double log_sum_exp(std::span<const float> logits);
// The `count` likeliest ids with their log-probabilities, best first, equal ones to the lower id.
[[nodiscard]] std::vector<std::pair<int32_t, double>> top_log_probs(std::span<const float> logits,
                                                                    int count);

}  // namespace lychee::engine
