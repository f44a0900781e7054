#include "eval/interval.h"

#include <gtest/gtest.h>

namespace lychee::eval {
namespace {

// Values from Wilson's formula worked out by hand (z = 1.96).
TEST(WilsonInterval, KnownValues) {
  const struct {
    int64_t right, trials;
    double low, high;
  } cases[] = {{0, 10, 0, 0.27753}, {10, 10, 0.72247, 1},        {5, 10, 0.23659, 0.76341},
               {1, 1, 0.20655, 1},  {81, 263, 0.25529, 0.36621}, {0, 0, 0, 1}};
  for (const auto& c : cases) {
    const Interval interval = wilson_interval(c.right, c.trials);
    EXPECT_NEAR(interval.low, c.low, 2e-5) << c.right << "/" << c.trials;
    EXPECT_NEAR(interval.high, c.high, 2e-5) << c.right << "/" << c.trials;
  }
}

}  // namespace
}  // namespace lychee::eval
