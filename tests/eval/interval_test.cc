#include "eval/interval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace lychee::eval {
namespace {

// Values from Wilson's formula worked out by hand (z = 1.96).
TEST(WilsonInterval, KnownValues) {
  const struct {
    double right;
    int64_t trials;
    double low, high;
  } cases[] = {{0, 10, 0, 0.27753}, {10, 10, 0.72247, 1},        {5, 10, 0.23659, 0.76341},
               {1, 1, 0.20655, 1},  {81, 263, 0.25529, 0.36621}, {0, 0, 0, 1}};
  for (const auto& c : cases) {
    const Interval interval = wilson_interval(c.right, c.trials);
    EXPECT_NEAR(interval.low, c.low, 2e-5) << c.right << "/" << c.trials;
    EXPECT_NEAR(interval.high, c.high, 2e-5) << c.right << "/" << c.trials;
  }
}

TEST(BootstrapInterval, HoldsTheMeanAndNarrows) {
  std::vector<double> values;
  double half = 1;
  for (const int size : {20, 80, 320}) {
    while (std::ssize(values) < size) {
      values.push_back(static_cast<double>(values.size() % 5) / 4);
    }
    const Interval interval = bootstrap_interval(values);
    // 1.96 times the standard error of the mean; the deviation of 0, 0.25, … 1 is 0.354.
    const double expected = 1.96 * 0.3536 / std::sqrt(size);
    EXPECT_NEAR(interval.low, 0.5 - expected, 0.15 * expected);
    EXPECT_NEAR(interval.high, 0.5 + expected, 0.15 * expected);
    EXPECT_LT(interval.high - interval.low, half);
    half = interval.high - interval.low;
  }
  EXPECT_TRUE(std::isnan(bootstrap_interval({0.5}).low));
}

TEST(ScoreInterval, HasAWidthWhereAllAreEqual) {
  EXPECT_EQ(score_interval({1, 1, 0}).low, wilson_interval(2, 3).low);
  EXPECT_EQ(score_interval({0.5, 0.5}).high, wilson_interval(1, 2).high);
  EXPECT_EQ(score_interval({0.5, 0.25, 1}).low, bootstrap_interval({0.5, 0.25, 1}).low);
}

}  // namespace
}  // namespace lychee::eval
