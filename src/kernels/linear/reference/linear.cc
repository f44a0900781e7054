#include "kernels/linear/linear.h"

#include <vector>

namespace lychee::linear::reference {
namespace {

template <typename Real>
void multiply(const LinearParamsOf<Real>& p) {
  const int64_t row_bytes = dtype_bytes(p.weight_dtype, p.in_features);
  std::vector<float> weight(static_cast<size_t>(p.in_features));
  for (int64_t o = 0; o < p.out_features; ++o) {
    dequantize(p.weight_dtype, p.weight + o * row_bytes, p.in_features, weight.data());
    for (int64_t r = 0; r < p.num_rows; ++r) {
      double sum = p.bias != nullptr ? static_cast<double>(p.bias[o]) : 0.0;
      for (int64_t i = 0; i < p.in_features; ++i) {
        sum += static_cast<double>(p.x[r * p.x_stride + i]) *
               static_cast<double>(weight[static_cast<size_t>(i)]);
      }
      Real& y = p.y[r * p.y_stride + o];
      y = static_cast<Real>(p.accumulate ? static_cast<double>(y) + sum : sum);
    }
  }
}

}  // namespace

void linear(const LinearParams& params) {
  multiply(params);
}

void linear(const LinearParamsOf<double>& params) {
  multiply(params);
}

}  // namespace lychee::linear::reference
