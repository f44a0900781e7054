#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lychee::training {

enum class GateKind : uint8_t {
  kHardKuma,
  kHardConcrete,  // L0 regularisation by a binary concrete distribution
  kDirect,        // the clipped gate itself, as DuoAttention trains it
};

[[nodiscard]] std::string_view gate_name(GateKind kind);
[[nodiscard]] std::optional<GateKind> parse_gate(std::string_view name);

// A kind with one parameter leaves the second alone.
using GateParams = std::array<double, 2>;

struct GateValue {
  double value = 0;
  GateParams gradient = {0, 0};
};

// What a trainer needs to know of a kind of gate. Stateless.
class Gate {
 public:
  virtual ~Gate() = default;

  [[nodiscard]] virtual GateParams initial() const = 0;
  // Keeps parameters where the formulas hold.
  virtual void clamp(GateParams& params) const = 0;
  // z in [0, 1] from a uniform number u.
  [[nodiscard]] virtual GateValue sample(const GateParams& params, double u) const = 0;
  // The probability that z is not 0 (for kDirect the gate itself): what sparsity is counted by.
  [[nodiscard]] virtual GateValue density(const GateParams& params) const = 0;
  // What heads are ranked and rounded by, in [0, 1].
  [[nodiscard]] virtual double score(const GateParams& params) const = 0;
};

[[nodiscard]] const Gate& gate_of(GateKind kind);

}  // namespace lychee::training
