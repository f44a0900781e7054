#include "training/gate.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "training/hard_kuma.h"
#include "training/stretch.h"

namespace lychee::training {
namespace {

constexpr std::array<std::pair<GateKind, std::string_view>, 3> kNames = {
    {{GateKind::kHardKuma, "hardkuma"},
     {GateKind::kHardConcrete, "hard-concrete"},
     {GateKind::kDirect, "direct"}}};

class HardKumaGate final : public Gate {
 public:
  [[nodiscard]] GateParams initial() const override { return {1, 1}; }
  void clamp(GateParams& params) const override {
    for (double& param : params) {
      param = std::clamp(param, 1e-6, 100.0);
    }
  }
  [[nodiscard]] GateValue sample(const GateParams& params, double u) const override {
    const KumaValue z = hard_kuma_sample({params[0], params[1]}, u);
    return {z.value, z.gradient};
  }
  [[nodiscard]] GateValue density(const GateParams& params) const override {
    const KumaValue open = hard_kuma_open({params[0], params[1]});
    return {open.value, open.gradient};
  }
  [[nodiscard]] double score(const GateParams& params) const override {
    return kuma_mean({params[0], params[1]});
  }
};

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

// params[0] is log α of the binary concrete distribution.
class HardConcreteGate final : public Gate {
 public:
  [[nodiscard]] GateParams initial() const override { return {0, 0}; }
  void clamp(GateParams& params) const override { params[0] = std::clamp(params[0], -20.0, 20.0); }
  [[nodiscard]] GateValue sample(const GateParams& params, double u) const override {
    const double s = sigmoid((std::log(u) - std::log1p(-u) + params[0]) / kTemperature);
    const double stretched = kStretchLow + (kStretchHigh - kStretchLow) * s;
    if (stretched <= 0 || stretched >= 1) {
      return {std::clamp(stretched, 0.0, 1.0), {0, 0}};
    }
    return {stretched, {(kStretchHigh - kStretchLow) * s * (1 - s) / kTemperature, 0}};
  }
  [[nodiscard]] GateValue density(const GateParams& params) const override {
    const double open = sigmoid(params[0] - kTemperature * std::log(-kStretchLow / kStretchHigh));
    return {open, {open * (1 - open), 0}};
  }
  [[nodiscard]] double score(const GateParams& params) const override { return sigmoid(params[0]); }

 private:
  static constexpr double kTemperature = 2.0 / 3;
};

class DirectGate final : public Gate {
 public:
  [[nodiscard]] GateParams initial() const override { return {1, 0}; }
  void clamp(GateParams& params) const override { params[0] = std::clamp(params[0], 0.0, 1.0); }
  [[nodiscard]] GateValue sample(const GateParams& params, double /*u*/) const override {
    return {params[0], {1, 0}};
  }
  [[nodiscard]] GateValue density(const GateParams& params) const override {
    return {params[0], {1, 0}};
  }
  [[nodiscard]] double score(const GateParams& params) const override { return params[0]; }
};

}  // namespace

std::string_view gate_name(GateKind kind) {
  return kNames.at(static_cast<size_t>(kind)).second;
}

std::optional<GateKind> parse_gate(std::string_view name) {
  for (const auto& [kind, known] : kNames) {
    if (known == name) {
      return kind;
    }
  }
  return std::nullopt;
}

const Gate& gate_of(GateKind kind) {
  static const HardKumaGate kHardKuma;
  static const HardConcreteGate kHardConcrete;
  static const DirectGate kDirect;
  switch (kind) {
    case GateKind::kHardConcrete:
      return kHardConcrete;
    case GateKind::kDirect:
      return kDirect;
    case GateKind::kHardKuma:
      break;
  }
  return kHardKuma;
}

}  // namespace lychee::training
