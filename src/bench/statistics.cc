#include "bench/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/check.h"

namespace lychee::bench {

double percentile(std::vector<double> sample, double share) {
  require(!sample.empty(), ErrorCode::kInvalidArgument, "percentile of an empty sample");
  require(share >= 0 && share <= 1, ErrorCode::kInvalidArgument, "percentile at ", share,
          ": must lie between 0 and 1");
  std::sort(sample.begin(), sample.end());
  const double place = share * static_cast<double>(sample.size() - 1);
  const auto below = static_cast<size_t>(std::floor(place));
  const size_t above = std::min(below + 1, sample.size() - 1);
  return std::lerp(sample[below], sample[above], place - std::floor(place));
}

Spread spread_of(const std::vector<double>& sample) {
  return {percentile(sample, 0.5), percentile(sample, 0.1), percentile(sample, 0.9)};
}

}  // namespace lychee::bench
