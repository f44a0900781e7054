#include "training/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace lychee::training {
namespace {

constexpr GateKind kKinds[] = {GateKind::kHardKuma, GateKind::kHardConcrete, GateKind::kDirect};

TEST(Gate, NamesGoBothWays) {
  for (const GateKind kind : kKinds) {
    EXPECT_EQ(parse_gate(gate_name(kind)), kind);
  }
  EXPECT_FALSE(parse_gate("kuma").has_value());
}

TEST(Gate, DensityIsTheShareOfOpenSamples) {
  constexpr int kCount = 100000;
  for (const GateKind kind : {GateKind::kHardKuma, GateKind::kHardConcrete}) {
    const Gate& gate = gate_of(kind);
    const GateParams params = kind == GateKind::kHardKuma ? GateParams{0.6, 1.5} : GateParams{-1.5};
    std::mt19937_64 random(3);
    double open = 0;
    for (int i = 0; i < kCount; ++i) {
      const double u = (static_cast<double>(random() >> 11) + 0.5) * 0x1.0p-53;
      open += gate.sample(params, u).value != 0 ? 1.0 / kCount : 0;
    }
    EXPECT_NEAR(open, gate.density(params).value, 5 * 0.5 / std::sqrt(kCount)) << gate_name(kind);
  }
}

TEST(Gate, GradientsMatchDifferences) {
  constexpr double kStep = 1e-6;
  for (const GateKind kind : kKinds) {
    const Gate& gate = gate_of(kind);
    const GateParams params = {0.4, 0.8};
    for (size_t i = 0; i < params.size(); ++i) {
      GateParams up = params;
      GateParams down = params;
      up[i] += kStep;
      down[i] -= kStep;
      const auto check = [&](const auto& value) {
        EXPECT_NEAR(value(params).gradient[i], (value(up).value - value(down).value) / (2 * kStep),
                    1e-7)
            << gate_name(kind);
      };
      check([&](const GateParams& p) { return gate.density(p); });
      for (const double u : {0.01, 0.2, 0.6, 0.99}) {
        check([&](const GateParams& p) { return gate.sample(p, u); });
      }
    }
  }
}

TEST(Gate, ClampKeepsParametersInRange) {
  GateParams params = {-5, 1000};
  gate_of(GateKind::kHardKuma).clamp(params);
  EXPECT_EQ(params, (GateParams{1e-6, 100}));
  params = {7, 0};
  gate_of(GateKind::kDirect).clamp(params);
  EXPECT_EQ(params[0], 1);
  params = {-50, 0};
  gate_of(GateKind::kHardConcrete).clamp(params);
  EXPECT_EQ(params[0], -20);
}

TEST(Gate, ScoreGrowsWithTheGate) {
  EXPECT_GT(gate_of(GateKind::kHardKuma).score({2, 1}), gate_of(GateKind::kHardKuma).score({1, 1}));
  EXPECT_GT(gate_of(GateKind::kHardConcrete).score({1, 0}),
            gate_of(GateKind::kHardConcrete).score({-1, 0}));
  EXPECT_EQ(gate_of(GateKind::kDirect).score({0.25, 0}), 0.25);
}

}  // namespace
}  // namespace lychee::training
