#include "training/kernels.h"

namespace lychee::training {

const Kernels<float>& cpu_kernels() {
  static const Kernels<float> kKernels = {
      .rms_norm = norm::cpu::rms_norm,
      .rms_norm_backward = norm::cpu::rms_norm_backward,
      .apply_rope_table = rope::cpu::apply_rope_table,
      .silu_mul = activation::cpu::silu_mul,
      .silu_mul_backward = activation::cpu::silu_mul_backward,
      .linear_workspace_bytes = linear::cpu::linear_workspace_bytes,
      .linear = linear::cpu::linear,
      .linear_backward_workspace_bytes = linear::cpu::linear_backward_workspace_bytes,
      .linear_backward = linear::cpu::linear_backward,
      .attention_workspace_bytes = attention::cpu::blended_attention_workspace_bytes,
      .attention = attention::cpu::blended_attention,
      .attention_backward_workspace_bytes =
          attention::cpu::blended_attention_backward_workspace_bytes,
      .attention_backward = attention::cpu::blended_attention_backward,
      .select_tokens_workspace_bytes = attention::cpu::select_tokens_workspace_bytes,
      .select_tokens = attention::cpu::select_tokens,
      .kl_divergence = loss::cpu::kl_divergence,
      .mean_square = loss::cpu::mean_square};
  return kKernels;
}

}  // namespace lychee::training
