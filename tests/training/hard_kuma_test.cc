#include "training/hard_kuma.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace lychee::training {
namespace {

constexpr HardKuma kCases[] = {{1, 1}, {0.5, 2}, {3, 0.7}, {0.2, 0.3}, {8, 5}};

std::vector<double> uniforms(int count) {
  std::mt19937_64 random(7);
  std::vector<double> values;
  values.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    values.push_back((static_cast<double>(random() >> 11) + 0.5) * 0x1.0p-53);
  }
  return values;
}

TEST(HardKuma, InitialGateIsUniform) {
  const HardKuma kuma;
  EXPECT_DOUBLE_EQ(kuma_sample(kuma, 0.25).value, 0.75);
  EXPECT_NEAR(hard_kuma_open(kuma).value, 11.0 / 12, 1e-15);
  EXPECT_NEAR(hard_kuma_mass_at_zero(kuma), 1.0 / 12, 1e-15);
  EXPECT_NEAR(hard_kuma_mass_at_one(kuma), 1.0 / 12, 1e-15);
  EXPECT_NEAR(kuma_mean(kuma), 0.5, 1e-14);
}

TEST(HardKuma, ClosedFormOfOtherShapes) {
  // α = 2, β = 1: F(x) = x², mean 2/3. α = 1, β = 2: F(x) = 1 - (1 - x)², mean 1/3.
  EXPECT_NEAR(kuma_cdf({2, 1}, 0.3), 0.09, 1e-15);
  EXPECT_NEAR(kuma_mean({2, 1}), 2.0 / 3, 1e-14);
  EXPECT_NEAR(kuma_cdf({1, 2}, 0.3), 1 - 0.49, 1e-15);
  EXPECT_NEAR(kuma_mean({1, 2}), 1.0 / 3, 1e-14);
  EXPECT_NEAR(kuma_density({2, 1}, 0.3), 0.6, 1e-15);
}

TEST(HardKuma, SamplesHaveTheDistribution) {
  constexpr int kCount = 200000;
  const std::vector<double> draws = uniforms(kCount);
  for (const HardKuma& kuma : kCases) {
    double mean = 0;
    double zeros = 0;
    double ones = 0;
    double below = 0;
    for (const double u : draws) {
      const double s = kuma_sample(kuma, u).value;
      const double z = hard_kuma_sample(kuma, u).value;
      mean += s / kCount;
      zeros += z == 0 ? 1.0 / kCount : 0;
      ones += z == 1 ? 1.0 / kCount : 0;
      below += s <= 0.4 ? 1.0 / kCount : 0;
      ASSERT_TRUE(z >= 0 && z <= 1);
    }
    // Five standard deviations of a share of kCount draws, at most.
    const double tolerance = 5 * 0.5 / std::sqrt(kCount);
    EXPECT_NEAR(mean, kuma_mean(kuma), tolerance) << kuma.alpha << " " << kuma.beta;
    EXPECT_NEAR(zeros, hard_kuma_mass_at_zero(kuma), tolerance);
    EXPECT_NEAR(ones, hard_kuma_mass_at_one(kuma), tolerance);
    EXPECT_NEAR(below, kuma_cdf(kuma, 0.4), tolerance);
    EXPECT_NEAR(hard_kuma_open(kuma).value, 1 - hard_kuma_mass_at_zero(kuma), 1e-12);
  }
}

TEST(HardKuma, DensityIsTheSlopeOfTheCdf) {
  for (const HardKuma& kuma : kCases) {
    for (const double x : {0.1, 0.5, 0.9}) {
      const double slope = (kuma_cdf(kuma, x + 1e-6) - kuma_cdf(kuma, x - 1e-6)) / 2e-6;
      EXPECT_NEAR(kuma_density(kuma, x), slope, 1e-6 * std::max(1.0, slope));
    }
  }
}

template <typename Fn>
void expect_gradient(const HardKuma& kuma, const Fn& fn) {
  constexpr double kStep = 1e-6;
  const KumaValue at = fn(kuma);
  const double by_alpha =
      (fn({kuma.alpha + kStep, kuma.beta}).value - fn({kuma.alpha - kStep, kuma.beta}).value) /
      (2 * kStep);
  const double by_beta =
      (fn({kuma.alpha, kuma.beta + kStep}).value - fn({kuma.alpha, kuma.beta - kStep}).value) /
      (2 * kStep);
  EXPECT_NEAR(at.gradient[0], by_alpha, 1e-7 * std::max(1.0, std::fabs(by_alpha)));
  EXPECT_NEAR(at.gradient[1], by_beta, 1e-7 * std::max(1.0, std::fabs(by_beta)));
}

TEST(HardKuma, GradientsMatchDifferences) {
  for (const HardKuma& kuma : kCases) {
    expect_gradient(kuma, hard_kuma_open);
    for (const double u : {0.02, 0.3, 0.5, 0.77, 0.98}) {
      expect_gradient(kuma, [u](const HardKuma& k) { return kuma_sample(k, u); });
      expect_gradient(kuma, [u](const HardKuma& k) { return hard_kuma_sample(k, u); });
    }
  }
}

TEST(HardKuma, FiniteAtTheLimitsOfItsParameters) {
  for (const double alpha : {1e-6, 1.0, 100.0}) {
    for (const double beta : {1e-6, 1.0, 100.0}) {
      const HardKuma kuma{alpha, beta};
      for (const double u : {0.001, 0.5, 0.999}) {
        const KumaValue z = hard_kuma_sample(kuma, u);
        EXPECT_TRUE(std::isfinite(z.value + z.gradient[0] + z.gradient[1]));
      }
      const KumaValue open = hard_kuma_open(kuma);
      EXPECT_TRUE(std::isfinite(open.value + open.gradient[0] + open.gradient[1]));
      EXPECT_TRUE(kuma_mean(kuma) >= 0 && kuma_mean(kuma) <= 1 + 1e-9);
    }
  }
}

}  // namespace
}  // namespace lychee::training
