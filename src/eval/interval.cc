#include "eval/interval.h"

#include <algorithm>
#include <cmath>

namespace lychee::eval {

Interval wilson_interval(int64_t successes, int64_t trials) {
  if (trials <= 0) {
    return {};
  }
  constexpr double kZ = 1.959963984540054;
  const auto n = static_cast<double>(trials);
  const double share = static_cast<double>(successes) / n;
  const double center = share + kZ * kZ / (2 * n);
  const double spread = kZ * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n));
  const double scale = 1 / (1 + kZ * kZ / n);
  return {std::max(0.0, (center - spread) * scale), std::min(1.0, (center + spread) * scale)};
}

}  // namespace lychee::eval
