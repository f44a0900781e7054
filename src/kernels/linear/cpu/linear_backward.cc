#include "kernels/linear/linear_backward.h"

#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/linear/linear.h"

namespace lychee::linear::cpu {
namespace {

// Outputs widened at a time: about 4 MB, so that a panel is still cached when it is multiplied.
int64_t panel_outputs(const LinearBackwardParams<float>& p) {
  return std::min(std::max<int64_t>((int64_t{1} << 20) / p.in_features, 64), p.out_features);
}

}  // namespace

int64_t linear_backward_workspace_bytes(const LinearBackwardParams<float>& p) {
  return panel_outputs(p) * p.in_features * static_cast<int64_t>(sizeof(float));
}

void linear_backward(const LinearBackwardParams<float>& p) {
  const int64_t step = panel_outputs(p);
  const int64_t row_bytes = dtype_bytes(p.weight_dtype, p.in_features);
  auto* panel = static_cast<float*>(p.workspace);
  for (int64_t begin = 0; begin < p.out_features; begin += step) {
    const int64_t count = std::min(step, p.out_features - begin);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < count; ++o) {
      dequantize(p.weight_dtype, p.weight + (begin + o) * row_bytes, p.in_features,
                 panel + o * p.in_features);
    }
    lychee::cpu::gemm({.rows = p.num_rows,
                       .columns = p.in_features,
                       .inner = count,
                       .a = p.dy + begin,
                       .a_stride = p.dy_stride,
                       .b = panel,
                       .b_stride = p.in_features,
                       .c = p.dx,
                       .c_stride = p.dx_stride,
                       .accumulate = p.accumulate || begin > 0});
  }
}

}  // namespace lychee::linear::cpu
