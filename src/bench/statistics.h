#pragma once

#include <vector>

namespace lychee::bench {

// The middle of a sample and how far it spreads.
struct Spread {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
};

// The value below which `share` (0 … 1) of the sample lies, interpolated linearly between
// neighbours. Throws Error(kInvalidArgument) for an empty sample or a share outside 0 … 1.
[[nodiscard]] double percentile(std::vector<double> sample, double share);

[[nodiscard]] Spread spread_of(const std::vector<double>& sample);

}  // namespace lychee::bench
