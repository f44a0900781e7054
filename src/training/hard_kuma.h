#pragma once

#include <array>

namespace lychee::training {

// The stretched, rectified Kumaraswamy distribution (algorithm.md, section 3): with u ~ U(0, 1),
//   s = (1 - u^(1/β))^(1/α),   z = clip(-0.1 + 1.2 · s, 0, 1).
struct HardKuma {
  double alpha = 1;
  double beta = 1;
};

// A value and its derivatives by α and β.
struct KumaValue {
  double value = 0;
  std::array<double, 2> gradient = {0, 0};
};

// The unclipped s of u.
[[nodiscard]] KumaValue kuma_sample(const HardKuma& kuma, double u);
// z of u; no gradient where it is clipped.
[[nodiscard]] KumaValue hard_kuma_sample(const HardKuma& kuma, double u);

// Of s: P(s <= x) and its derivative by x, for x in [0, 1].
[[nodiscard]] double kuma_cdf(const HardKuma& kuma, double x);
[[nodiscard]] double kuma_density(const HardKuma& kuma, double x);
// E[s], the unstretched mean.
[[nodiscard]] double kuma_mean(const HardKuma& kuma);

[[nodiscard]] double hard_kuma_mass_at_zero(const HardKuma& kuma);  // P(z = 0)
[[nodiscard]] double hard_kuma_mass_at_one(const HardKuma& kuma);   // P(z = 1)
// P(z != 0), what the density constraint counts.
[[nodiscard]] KumaValue hard_kuma_open(const HardKuma& kuma);

}  // namespace lychee::training
