#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace lychee::eval {

// What 95 of 100 intervals made this way cover.
struct Interval {
  double low = 0;
  double high = 1;

  // False of one that too few values leave open.
  [[nodiscard]] bool is_known() const { return std::isfinite(low) && std::isfinite(high); }
};

// Wilson's interval for the share behind `successes` of `trials`; [0, 1] for no trials. Unlike the
// normal approximation it has a width at 0 and at 1, where most tasks end up. Fractional successes
// (points of 0 … 1 a trial) give an interval that is too wide rather than too narrow.
[[nodiscard]] Interval wilson_interval(double successes, int64_t trials);

// The percentile bootstrap of the mean, with fixed draws; for fewer than two values, NaN.
[[nodiscard]] Interval bootstrap_interval(const std::vector<double>& values);

// For scores in [0, 1]: Wilson's interval where all are 0 or 1 or all are equal, else bootstrap.
[[nodiscard]] Interval score_interval(const std::vector<double>& scores);

}  // namespace lychee::eval
