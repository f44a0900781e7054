#include "eval/logits.h"

#include <algorithm>
#include <cmath>

#include "engine/log_probs.h"

namespace lychee::eval {

std::vector<double> log_softmax(std::span<const float> logits) {
  const double normalizer = engine::log_sum_exp(logits);
  std::vector<double> result(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    result[i] = static_cast<double>(logits[i]) - normalizer;
  }
  return result;
}

double kl_divergence(std::span<const double> from, std::span<const double> to) {
  double kl = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    kl += from[i] > -1e300 ? std::exp(from[i]) * (from[i] - to[i]) : 0;
  }
  return std::max(kl, 0.0);  // rounding may leave it a hair below
}

size_t argmax(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace lychee::eval
