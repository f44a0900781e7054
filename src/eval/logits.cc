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

double kl_divergence(std::span<const float> from, std::span<const float> to) {
  const std::vector<double> p = log_softmax(from);
  const std::vector<double> q = log_softmax(to);
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    kl += p[i] > -1e300 ? std::exp(p[i]) * (p[i] - q[i]) : 0;
  }
  return std::max(kl, 0.0);  // rounding may leave it a hair below
}

size_t argmax(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace lychee::eval
