#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace lychee::eval {

// Log-softmax of a row of logits, in double.
[[nodiscard]] std::vector<double> log_softmax(std::span<const float> logits);
// KL(from ‖ to) of two rows of log-softmax values, in nats.
[[nodiscard]] double kl_divergence(std::span<const double> from, std::span<const double> to);
// The first of the largest.
[[nodiscard]] size_t argmax(std::span<const float> logits);

}  // namespace lychee::eval
