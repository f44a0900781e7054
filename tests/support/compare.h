#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace lychee::test {

// |a - b|; non-finite values must agree exactly, and NaN agrees with nothing.
[[nodiscard]] inline double absolute_error(double a, double b) {
  if (!std::isfinite(a) || !std::isfinite(b)) {
    return a == b ? 0 : std::numeric_limits<double>::infinity();
  }
  return std::fabs(a - b);
}

[[nodiscard]] inline double worst_error(std::span<const float> actual,
                                        std::span<const float> expected) {
  if (actual.size() != expected.size()) {
    return std::numeric_limits<double>::infinity();
  }
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    worst = std::max(worst, absolute_error(double{actual[i]}, double{expected[i]}));
  }
  return worst;
}

// Every |actual - expected| is at most `tolerance`; otherwise says where and how far off.
[[nodiscard]] inline testing::AssertionResult within(std::span<const float> actual,
                                                     std::span<const float> expected,
                                                     double tolerance) {
  if (actual.size() != expected.size()) {
    return testing::AssertionFailure() << actual.size() << " values instead of " << expected.size();
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!(absolute_error(double{actual[i]}, double{expected[i]}) <= tolerance)) {
      return testing::AssertionFailure()
             << "first bad index " << i << ": " << actual[i] << " instead of " << expected[i]
             << ", tolerance " << tolerance << ", worst error " << worst_error(actual, expected);
    }
  }
  return testing::AssertionSuccess();
}

// The derived tolerance: no worse than twice a plain loop in the same dtype, both against the
// double-precision reference; `atol` covers results that the plain loop gets exactly right.
[[nodiscard]] inline testing::AssertionResult as_good_as_plain(std::span<const float> actual,
                                                               std::span<const float> plain,
                                                               std::span<const float> expected,
                                                               double atol) {
  return within(actual, expected, 2 * worst_error(plain, expected) + atol);
}

}  // namespace lychee::test
