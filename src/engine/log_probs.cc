#include "engine/log_probs.h"

#include <algorithm>
#include <numeric>

#include "kernels/sampling/sample.h"

namespace lychee::engine {

double log_sum_exp(std::span<const float> logits) {
  return sampling::cpu::log_sum_exp(logits);
}

std::vector<std::pair<int32_t, double>> top_log_probs(std::span<const float> logits, int count) {
  const auto size = std::min(static_cast<size_t>(std::max(count, 0)), logits.size());
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(size), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)];
                      const float y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  const double normalizer = log_sum_exp(logits);
  std::vector<std::pair<int32_t, double>> best;
  best.reserve(size);
  for (size_t i = 0; i < size; ++i) {
    best.emplace_back(ids[i],
                      static_cast<double>(logits[static_cast<size_t>(ids[i])]) - normalizer);
  }
  return best;
}

}  // namespace lychee::engine
