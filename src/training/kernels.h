#pragma once

#include <cstdint>

#include "kernels/activation/silu_mul.h"
#include "kernels/activation/silu_mul_backward.h"
#include "kernels/attention/blended_attention.h"
#include "kernels/attention/select_tokens.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_backward.h"
#include "kernels/loss/logit_loss.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/norm/rms_norm_backward.h"
#include "kernels/rope/rope.h"

namespace lychee::training {

// The backend of a trainer, as a table: the CPU's kernels in float, or in tests the reference in
// double, on which gradients are checked against differences.
template <typename Real>
struct Kernels {
  void (*rms_norm)(const norm::RmsNormParamsOf<Real>&);
  void (*rms_norm_backward)(const norm::RmsNormBackwardParams<Real>&);
  void (*apply_rope_table)(const rope::RopeApplyParamsOf<Real>&);
  void (*silu_mul)(const activation::SiluMulParamsOf<Real>&);
  void (*silu_mul_backward)(const activation::SiluMulBackwardParams<Real>&);
  int64_t (*linear_workspace_bytes)(const linear::LinearParamsOf<Real>&);
  void (*linear)(const linear::LinearParamsOf<Real>&);
  int64_t (*linear_backward_workspace_bytes)(const linear::LinearBackwardParams<Real>&);
  void (*linear_backward)(const linear::LinearBackwardParams<Real>&);
  int64_t (*attention_workspace_bytes)(const attention::BlendedAttentionParams<Real>&);
  void (*attention)(const attention::BlendedAttentionParams<Real>&);
  int64_t (*attention_backward_workspace_bytes)(
      const attention::BlendedAttentionBackwardParams<Real>&);
  void (*attention_backward)(const attention::BlendedAttentionBackwardParams<Real>&);
  int64_t (*select_tokens_workspace_bytes)(const attention::SelectTokensParams&);
  void (*select_tokens)(const attention::SelectTokensParams&);
  void (*kl_divergence)(const loss::LogitLossParams<Real>&);
  void (*mean_square)(const loss::LogitLossParams<Real>&);
};

[[nodiscard]] const Kernels<float>& cpu_kernels();

}  // namespace lychee::training
