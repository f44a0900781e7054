#include "eval/interval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "samples/random.h"

namespace lychee::eval {

Interval wilson_interval(double successes, int64_t trials) {
  if (trials <= 0) {
    return {};
  }
  constexpr double kZ = 1.959963984540054;
  const auto n = static_cast<double>(trials);
  const double share = successes / n;
  const double scale = 1 + kZ * kZ / n;
  const double center = (share + kZ * kZ / (2 * n)) / scale;
  const double half = kZ * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n)) / scale;
  return {std::max(0.0, center - half), std::min(1.0, center + half)};
}

Interval bootstrap_interval(const std::vector<double>& values) {
  if (values.size() < 2) {
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    return {unknown, unknown};
  }
  constexpr size_t kDraws = 2000;
  samples::Random random(values.size());
  std::vector<double> means(kDraws);
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      sum += random.pick(values);
    }
    mean = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  return {means[kDraws / 40], means[kDraws - 1 - kDraws / 40]};
}

Interval score_interval(const std::vector<double>& scores) {
  const bool binary = std::all_of(scores.begin(), scores.end(),
                                  [](double score) { return score == 0 || score == 1; });
  const bool equal =
      std::adjacent_find(scores.begin(), scores.end(), std::not_equal_to<>()) == scores.end();
  return binary || equal ? wilson_interval(std::accumulate(scores.begin(), scores.end(), 0.0),
                                           std::ssize(scores))
                         : bootstrap_interval(scores);
}

}  // namespace lychee::eval
