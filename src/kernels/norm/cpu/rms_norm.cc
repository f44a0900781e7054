#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/cpu/rms_norm.cc"
#include "kernels/norm/rms_norm.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace lychee::norm::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float sum_of_squares(const float* x, int64_t count) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    const auto a = hn::LoadU(d, x + i);
    const auto b = hn::LoadU(d, x + i + lanes);
    sum0 = hn::MulAdd(a, a, sum0);
    sum1 = hn::MulAdd(b, b, sum1);
  }
  float rest = 0;
  for (; i < count; ++i) {
    rest += x[i] * x[i];
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1))) + rest;
}

void normalize_row(const RmsNormParams& p, int64_t row) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* x = p.x + row * p.x_stride;
  float* y = p.y + row * p.y_stride;
  const float scale = 1 / std::sqrt(sum_of_squares(x, p.dim) / static_cast<float>(p.dim) + p.eps);
  const auto factor = hn::Set(d, scale);
  int64_t i = 0;
  for (; i + lanes <= p.dim; i += lanes) {
    const auto v = hn::Mul(hn::LoadU(d, x + i), factor);
    hn::StoreU(hn::Mul(v, hn::LoadU(d, p.weight + i)), d, y + i);
  }
  for (; i < p.dim; ++i) {
    y[i] = x[i] * scale * p.weight[i];
  }
}

}  // namespace lychee::norm::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::norm::cpu {

HWY_EXPORT(normalize_row);

constexpr int64_t kParallelValues = 65536;  // fewer cost less than waking the threads

void rms_norm(const RmsNormParams& params) {
  const auto normalize = HWY_DYNAMIC_DISPATCH(normalize_row);
#pragma omp parallel for schedule(static) if (params.num_rows * params.dim >= kParallelValues)
  for (int64_t r = 0; r < params.num_rows; ++r) {
    normalize(params, r);
  }
}

}  // namespace lychee::norm::cpu
#endif
