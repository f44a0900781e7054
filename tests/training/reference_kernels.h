#pragma once

#include "training/kernels.h"

namespace lychee::test {

// The double-precision reference as a trainer's backend.
[[nodiscard]] inline training::Kernels<double> reference_kernels() {
  const auto none = [](const auto& /*params*/) -> int64_t { return 0; };
  return {.rms_norm = norm::reference::rms_norm,
          .rms_norm_backward = norm::reference::rms_norm_backward,
          .apply_rope_table = rope::reference::apply_rope_table,
          .silu_mul = activation::reference::silu_mul,
          .silu_mul_backward = activation::reference::silu_mul_backward,
          .linear_workspace_bytes = none,
          .linear = linear::reference::linear,
          .linear_backward_workspace_bytes = none,
          .linear_backward = linear::reference::linear_backward,
          .attention_workspace_bytes = none,
          .attention = attention::reference::blended_attention,
          .attention_backward_workspace_bytes = none,
          .attention_backward = attention::reference::blended_attention_backward,
          .select_tokens_workspace_bytes = none,
          .select_tokens = attention::reference::select_tokens,
          .kl_divergence = loss::reference::kl_divergence,
          .mean_square = loss::reference::mean_square};
}

}  // namespace lychee::test
