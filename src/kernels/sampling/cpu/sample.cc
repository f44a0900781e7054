#include "kernels/sampling/sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"

namespace lychee::sampling::cpu {
namespace {

struct Candidate {
  int32_t id;
  double logit;  // after penalty and temperature
};

bool precedes(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

double as_logit(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<double>::infinity() : static_cast<double>(logit);
}

std::vector<Candidate> penalized(std::span<const float> logits, double penalty,
                                 std::span<const int32_t> previous) {
  std::vector<Candidate> candidates(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates[i] = {static_cast<int32_t>(i), as_logit(logits[i])};
  }
  if (penalty != 1) {
    for (const int32_t id : previous) {
      const double logit = as_logit(logits[static_cast<size_t>(id)]);
      candidates[static_cast<size_t>(id)].logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  return candidates;
}

void keep_top_k(std::vector<Candidate>& candidates, int top_k) {
  if (top_k > 0 && static_cast<size_t>(top_k) < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + top_k, candidates.end(), precedes);
    candidates.resize(static_cast<size_t>(top_k));
  }
}

double max_logit(const std::vector<Candidate>& candidates) {
  double max = -std::numeric_limits<double>::infinity();
  for (const Candidate& c : candidates) {
    max = std::max(max, c.logit);
  }
  return max;
}

double mass_of(const std::vector<Candidate>& candidates, double max) {
  double mass = 0;
  for (const Candidate& c : candidates) {
    mass += std::exp(c.logit - max);
  }
  return mass;
}

// The shortest descending prefix whose mass reaches top_p.
void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  const double max = max_logit(candidates);
  const double mass = mass_of(candidates, max);
  // All tokens below this share hold at most 1 - top_p together, so the prefix lies in the others;
  // halved for rounding. It spares sorting the whole vocabulary.
  const double floor =
      max + std::log((1 - top_p) * mass / (2 * static_cast<double>(candidates.size())));
  std::erase_if(candidates, [&](const Candidate& c) { return c.logit < floor; });
  std::sort(candidates.begin(), candidates.end(), precedes);
  double sum = 0;
  size_t count = 0;
  while (count < candidates.size() && (count == 0 || sum < top_p * mass)) {
    sum += std::exp(candidates[count].logit - max);
    ++count;
  }
  candidates.resize(count);
}

void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  const double floor = max_logit(candidates) + std::log(min_p);
  std::erase_if(candidates, [&](const Candidate& c) { return c.logit < floor; });
}

// Inverse of the distribution function, tokens in ascending order.
int32_t draw(std::vector<Candidate>& candidates, double uniform) {
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  const double max = max_logit(candidates);
  const double target = uniform * mass_of(candidates, max);
  double sum = 0;
  int32_t last = candidates.front().id;
  for (const Candidate& c : candidates) {
    const double share = std::exp(c.logit - max);
    sum += share;
    if (share > 0) {
      last = c.id;
    }
    if (sum > target) {
      return c.id;
    }
  }
  return last;  // rounding left the sum a little short of the target
}

// The highest logit's id, the lowest of equal ones; NaN counts as -inf.
int32_t most_likely(std::span<const float> logits) {
  constexpr size_t kLanes = 16;  // maxima side by side, which the compiler keeps in vectors
  std::array<float, kLanes> maxima;
  maxima.fill(-std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    const size_t count = std::min(kLanes, logits.size() - i);
    for (size_t lane = 0; lane < count; ++lane) {
      const float logit = logits[i + lane];
      maxima[lane] = logit > maxima[lane] ? logit : maxima[lane];
    }
  }
  const float max = *std::max_element(maxima.begin(), maxima.end());
  if (max == -std::numeric_limits<float>::infinity()) {
    return 0;
  }
  return static_cast<int32_t>(std::find(logits.begin(), logits.end(), max) - logits.begin());
}

}  // namespace

int32_t sample(std::span<const float> logits, const SampleParams& params,
               std::span<const int32_t> previous, double uniform) {
  require(!logits.empty(), ErrorCode::kInternal, "sample: no logits");
  if (params.temperature <= 0 && params.repetition_penalty == 1) {
    return most_likely(logits);
  }
  std::vector<Candidate> candidates = penalized(logits, params.repetition_penalty, previous);
  const Candidate best = *std::min_element(candidates.begin(), candidates.end(), precedes);
  if (params.temperature <= 0 || !std::isfinite(best.logit)) {
    return best.id;
  }
  for (Candidate& c : candidates) {
    c.logit /= params.temperature;
  }
  keep_top_k(candidates, params.top_k);
  if (params.top_p < 1) {
    keep_top_p(candidates, params.top_p);
  }
  if (params.min_p > 0) {
    keep_min_p(candidates, params.min_p);
  }
  return draw(candidates, uniform);
}

double log_sum_exp(std::span<const float> logits) {
  float max = -std::numeric_limits<float>::infinity();
  for (const float logit : logits) {
    max = std::max(max, logit);
  }
  if (!std::isfinite(max)) {
    return static_cast<double>(max);
  }
  double sum = 0;
  for (const float logit : logits) {
    sum += std::exp(static_cast<double>(logit) - static_cast<double>(max));
  }
  return static_cast<double>(max) + std::log(sum);
}

double log_prob(std::span<const float> logits, int32_t id) {
  return static_cast<double>(logits[static_cast<size_t>(id)]) - log_sum_exp(logits);
}

}  // namespace lychee::sampling::cpu
