#pragma once

#include <cstdint>

namespace lychee::eval {

struct Interval {
  double low = 0;
  double high = 1;
};

// Wilson's 95 % interval for the share behind `successes` of `trials`; [0, 1] for no trials. Unlike
// the normal approximation it has a width at 0 and at 1, where most tasks end up.
[[nodiscard]] Interval wilson_interval(int64_t successes, int64_t trials);

}  // namespace lychee::eval
