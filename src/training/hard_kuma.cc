#include "training/hard_kuma.h"

#include <algorithm>
#include <cmath>

#include "training/stretch.h"

namespace lychee::training {
namespace {

// Where the stretched s crosses 0 and 1.
constexpr double kLow = -kStretchLow / (kStretchHigh - kStretchLow);        // 1/12
constexpr double kHigh = (1 - kStretchLow) / (kStretchHigh - kStretchLow);  // 11/12

// x · log(y), which is 0 where x is 0 even if the logarithm is infinite.
double times_log(double x, double log_y) {
  return x == 0 ? 0 : x * log_y;
}

}  // namespace

KumaValue kuma_sample(const HardKuma& kuma, double u) {
  const double log_w = std::log(u) / kuma.beta;
  const double w = std::exp(log_w);        // u^(1/β)
  const double rest = -std::expm1(log_w);  // 1 - w
  const double log_rest = std::log(rest);
  const double s = std::exp(log_rest / kuma.alpha);
  // ds/dw = -s / (α (1 - w)), dw/dβ = -w log(w) / β
  const double d_beta = s == 0 ? 0 : s / (kuma.alpha * rest) * times_log(w, log_w) / kuma.beta;
  return {s, {-times_log(s, log_rest) / (kuma.alpha * kuma.alpha), d_beta}};
}

KumaValue hard_kuma_sample(const HardKuma& kuma, double u) {
  KumaValue sample = kuma_sample(kuma, u);
  const double stretched = kStretchLow + (kStretchHigh - kStretchLow) * sample.value;
  if (stretched <= 0 || stretched >= 1) {
    return {std::clamp(stretched, 0.0, 1.0), {0, 0}};
  }
  sample.value = stretched;
  for (double& gradient : sample.gradient) {
    gradient *= kStretchHigh - kStretchLow;
  }
  return sample;
}

double kuma_cdf(const HardKuma& kuma, double x) {
  // 1 - (1 - x^α)^β
  return -std::expm1(kuma.beta * std::log1p(-std::pow(x, kuma.alpha)));
}

double kuma_density(const HardKuma& kuma, double x) {
  const double power = std::pow(x, kuma.alpha);
  return kuma.alpha * kuma.beta * power / x * std::pow(1 - power, kuma.beta - 1);
}

double kuma_mean(const HardKuma& kuma) {
  // β · B(1 + 1/α, β)
  const double a = 1 + 1 / kuma.alpha;
  return kuma.beta * std::exp(std::lgamma(a) + std::lgamma(kuma.beta) - std::lgamma(a + kuma.beta));
}

double hard_kuma_mass_at_zero(const HardKuma& kuma) {
  return kuma_cdf(kuma, kLow);
}

double hard_kuma_mass_at_one(const HardKuma& kuma) {
  return 1 - kuma_cdf(kuma, kHigh);
}

KumaValue hard_kuma_open(const HardKuma& kuma) {
  const double log_low = std::log(kLow);
  const double power = std::exp(kuma.alpha * log_low);                  // (1/12)^α
  const double log_rest = std::log(-std::expm1(kuma.alpha * log_low));  // log(1 - (1/12)^α)
  const double open = std::exp(kuma.beta * log_rest);
  const double d_alpha =
      open == 0 ? 0 : -kuma.beta * std::exp((kuma.beta - 1) * log_rest) * power * log_low;
  return {open, {d_alpha, times_log(open, log_rest)}};
}

}  // namespace lychee::training
