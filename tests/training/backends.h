#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "tensor/device.h"
#include "training/cpu_backend.h"
#include "training/cuda_backend.h"

namespace lychee::test {

// The double-precision reference, on which gradients are checked against differences.
class ReferenceBackend : public training::HostBackend<double> {
 public:
  using HostBackend::HostBackend;

  void rms_norm(const norm::RmsNormParamsOf<double>& p) override { norm::reference::rms_norm(p); }
  void rms_norm_backward(const norm::RmsNormBackwardParams<double>& p) override {
    norm::reference::rms_norm_backward(p);
  }
  void apply_rope_table(const rope::RopeApplyParamsOf<double>& p) override {
    rope::reference::apply_rope_table(p);
  }
  void silu_mul(const activation::SiluMulParamsOf<double>& p) override {
    activation::reference::silu_mul(p);
  }
  void silu_mul_backward(const activation::SiluMulBackwardParams<double>& p) override {
    activation::reference::silu_mul_backward(p);
  }
  int64_t workspace_bytes(const linear::LinearParamsOf<double>& /*p*/) override { return 0; }
  void linear(const linear::LinearParamsOf<double>& p) override { linear::reference::linear(p); }
  int64_t workspace_bytes(const linear::LinearBackwardParams<double>& /*p*/) override { return 0; }
  void linear_backward(const linear::LinearBackwardParams<double>& p) override {
    linear::reference::linear_backward(p);
  }
  int64_t workspace_bytes(const attention::BlendedAttentionParams<double>& /*p*/) override {
    return 0;
  }
  void attention(const attention::BlendedAttentionParams<double>& p) override {
    attention::reference::blended_attention(p);
  }
  int64_t workspace_bytes(const attention::BlendedAttentionBackwardParams<double>& /*p*/) override {
    return 0;
  }
  void attention_backward(const attention::BlendedAttentionBackwardParams<double>& p) override {
    attention::reference::blended_attention_backward(p);
  }
  int64_t workspace_bytes(const attention::SelectTokensParams& /*p*/) override { return 0; }
  void select_tokens(const attention::SelectTokensParams& p) override {
    attention::reference::select_tokens(p);
  }
  void kl_divergence(const loss::LogitLossParams<double>& p) override {
    loss::reference::kl_divergence(p);
  }
  void mean_square(const loss::LogitLossParams<double>& p) override {
    loss::reference::mean_square(p);
  }
};

// A backend for weights that outlive it.
template <typename Real>
using MakeBackend =
    std::function<std::unique_ptr<training::Backend<Real>>(const model::ModelWeights& weights)>;

[[nodiscard]] inline std::unique_ptr<training::Backend<double>> reference_backend(
    const model::ModelWeights& weights) {
  return std::make_unique<ReferenceBackend>(weights);
}
[[nodiscard]] inline std::unique_ptr<training::Backend<float>> cpu_backend(
    const model::ModelWeights& weights) {
  return std::make_unique<training::CpuBackend>(weights);
}

// A backend in float, as a test's parameter.
struct FloatBackend {
  std::string name;
  MakeBackend<float> make;
  // Of golden gradients, as a share of the largest. f32 on the CPU; "exact" attention on a GPU
  // makes its products of operands in two parts of bf16, 16 bits in all, on which errors of 2^-17
  // pile up.
  double tolerance = 1e-4;
};
inline void PrintTo(const FloatBackend& backend, std::ostream* out) {
  *out << backend.name;
}

[[nodiscard]] inline FloatBackend cuda_backend(training::CudaPrecision precision) {
  return {precision == training::CudaPrecision::kExact ? "CudaExact" : "Cuda",
          [precision](const model::ModelWeights& weights) {
            return std::make_unique<training::CudaBackend>(weights, precision);
          },
          5e-4};
}
// What this machine has of those that compute in f32, and of those that users train with.
[[nodiscard]] inline std::vector<FloatBackend> exact_backends() {
  std::vector<FloatBackend> all = {{"Cpu", cpu_backend}};
  if (cuda_available()) {
    all.push_back(cuda_backend(training::CudaPrecision::kExact));
  }
  return all;
}
[[nodiscard]] inline std::vector<FloatBackend> user_backends() {
  std::vector<FloatBackend> all = {{"Cpu", cpu_backend}};
  if (cuda_available()) {
    all.push_back(cuda_backend(training::CudaPrecision::kBF16));
  }
  return all;
}

}  // namespace lychee::test
