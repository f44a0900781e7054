#pragma once

#include "training/host_backend.h"

namespace lychee::training {

// The CPU's kernels, in float.
class CpuBackend : public HostBackend<float> {
 public:
  using HostBackend::HostBackend;

  void rms_norm(const norm::RmsNormParams& p) override { norm::cpu::rms_norm(p); }
  void rms_norm_backward(const norm::RmsNormBackwardParams<float>& p) override {
    norm::cpu::rms_norm_backward(p);
  }
  void apply_rope_table(const rope::RopeApplyParams& p) override { rope::cpu::apply_rope_table(p); }
  void silu_mul(const activation::SiluMulParams& p) override { activation::cpu::silu_mul(p); }
  void silu_mul_backward(const activation::SiluMulBackwardParams<float>& p) override {
    activation::cpu::silu_mul_backward(p);
  }
  int64_t workspace_bytes(const linear::LinearParams& p) override {
    return linear::cpu::linear_workspace_bytes(p);
  }
  void linear(const linear::LinearParams& p) override { linear::cpu::linear(p); }
  int64_t workspace_bytes(const linear::LinearBackwardParams<float>& p) override {
    return linear::cpu::linear_backward_workspace_bytes(p);
  }
  void linear_backward(const linear::LinearBackwardParams<float>& p) override {
    linear::cpu::linear_backward(p);
  }
  int64_t workspace_bytes(const attention::BlendedAttentionParams<float>& p) override {
    return attention::cpu::blended_attention_workspace_bytes(p);
  }
  void attention(const attention::BlendedAttentionParams<float>& p) override {
    attention::cpu::blended_attention(p);
  }
  int64_t workspace_bytes(const attention::BlendedAttentionBackwardParams<float>& p) override {
    return attention::cpu::blended_attention_backward_workspace_bytes(p);
  }
  void attention_backward(const attention::BlendedAttentionBackwardParams<float>& p) override {
    attention::cpu::blended_attention_backward(p);
  }
  int64_t workspace_bytes(const attention::SelectTokensParams& p) override {
    return attention::cpu::select_tokens_workspace_bytes(p);
  }
  void select_tokens(const attention::SelectTokensParams& p) override {
    attention::cpu::select_tokens(p);
  }
  void kl_divergence(const loss::LogitLossParams<float>& p) override {
    loss::cpu::kl_divergence(p);
  }
  void mean_square(const loss::LogitLossParams<float>& p) override { loss::cpu::mean_square(p); }
};

}  // namespace lychee::training
