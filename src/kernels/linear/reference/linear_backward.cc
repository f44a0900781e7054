#include "kernels/linear/linear_backward.h"

#include <algorithm>
#include <vector>

#include "kernels/linear/linear.h"

namespace lychee::linear::reference {

void linear_backward(const LinearBackwardParams<double>& p) {
  const int64_t row_bytes = dtype_bytes(p.weight_dtype, p.in_features);
  std::vector<float> weight(static_cast<size_t>(p.in_features));
  for (int64_t r = 0; r < p.num_rows && !p.accumulate; ++r) {
    std::fill_n(p.dx + r * p.dx_stride, p.in_features, 0.0);
  }
  for (int64_t o = 0; o < p.out_features; ++o) {
    dequantize(p.weight_dtype, p.weight + o * row_bytes, p.in_features, weight.data());
    for (int64_t r = 0; r < p.num_rows; ++r) {
      for (int64_t i = 0; i < p.in_features; ++i) {
        p.dx[r * p.dx_stride + i] +=
            p.dy[r * p.dy_stride + o] * double{weight[static_cast<size_t>(i)]};
      }
    }
  }
}

}  // namespace lychee::linear::reference
