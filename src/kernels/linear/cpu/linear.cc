#include "kernels/linear/linear.h"

#include <omp.h>

#include "base/math.h"

namespace lychee::linear::cpu {
namespace {

float dot(const float* a, const float* b, int64_t count) {
  constexpr int kLanes = 16;  // independent sums, so that the compiler may vectorise
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      sums[lane] += a[i + lane] * b[i + lane];
    }
  }
  float sum = 0;
  for (; i < count; ++i) {
    sum += a[i] * b[i];
  }
  for (const float lane : sums) {
    sum += lane;
  }
  return sum;
}

}  // namespace

int64_t linear_workspace_bytes(const LinearParams& params) {
  return omp_get_max_threads() * round_up<int64_t>(params.in_features * 4, 64);
}

int64_t linear_group_workspace_bytes(const LinearGroupParams& params) {
  return omp_get_max_threads() * round_up<int64_t>(params.in_features * 4, 64);
}

void linear_group(const LinearGroupParams& p) {
  for (const LinearTarget& t : p.targets) {
    linear({p.num_rows, p.in_features, t.out_features, p.x, p.x_stride, t.weight_dtype, t.weight,
            t.bias, t.y, t.y_stride, p.accumulate, p.exact, p.workspace});
  }
}

void linear(const LinearParams& p) {
  const int64_t row_bytes = dtype_bytes(p.weight_dtype, p.in_features);
#pragma omp parallel
  {
    float* weight = static_cast<float*>(p.workspace) +
                    omp_get_thread_num() * round_up<int64_t>(p.in_features, 16);
#pragma omp for schedule(static)
    for (int64_t o = 0; o < p.out_features; ++o) {
      dequantize(p.weight_dtype, p.weight + o * row_bytes, p.in_features, weight);
      for (int64_t r = 0; r < p.num_rows; ++r) {
        const float sum = dot(p.x + r * p.x_stride, weight, p.in_features) +
                          (p.bias != nullptr ? p.bias[o] : 0.0F);
        float& y = p.y[r * p.y_stride + o];
        y = p.accumulate ? y + sum : sum;
      }
    }
  }
}

}  // namespace lychee::linear::cpu
