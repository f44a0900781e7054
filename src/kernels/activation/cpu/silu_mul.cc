#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/cpu/silu_mul.cc"
#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>
// After highway.h, and once per target.
#include <hwy/contrib/math/math-inl.h>

#include "base/math.h"
#include "kernels/activation/silu_mul.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::activation::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename V>
HWY_INLINE V silu_mul_vector(V gate, V up) {
  const hn::DFromV<V> d;
  // Below -87 exp(-gate) overflows, and silu(-87) is already less than the smallest normal number.
  // A maximum would do, but lose NaN.
  const auto low = hn::Set(d, -87.0F);
  const auto x = hn::IfThenElse(hn::Lt(gate, low), low, gate);
  return hn::Mul(hn::Div(x, hn::Add(hn::Set(d, 1.0F), hn::Exp(d, hn::Neg(x)))), up);
}

void silu_mul_span(const SiluMulParams& p, int64_t row, int64_t begin, int64_t end) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* gate = p.gate + row * p.gate_stride;
  const float* up = p.up + row * p.up_stride;
  float* y = p.y + row * p.y_stride;
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    hn::StoreU(silu_mul_vector(hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, y + i);
  }
  for (; i < end; ++i) {
    hn::StoreU(silu_mul_vector(hn::LoadU(one, gate + i), hn::LoadU(one, up + i)), one, y + i);
  }
}

}  // namespace lychee::activation::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::activation::cpu {

HWY_EXPORT(silu_mul_span);

constexpr int64_t kSpan = 2048;             // values a thread takes at a time
constexpr int64_t kParallelValues = 16384;  // fewer cost less than waking the threads

void silu_mul(const SiluMulParams& params) {
  const auto run = HWY_DYNAMIC_DISPATCH(silu_mul_span);
  const int64_t spans = ceil_div(params.dim, kSpan);
#pragma omp parallel for schedule(static) if (params.num_rows * params.dim >= kParallelValues)
  for (int64_t i = 0; i < params.num_rows * spans; ++i) {
    const int64_t begin = i % spans * kSpan;
    run(params, i / spans, begin, HWY_MIN(begin + kSpan, params.dim));
  }
}

}  // namespace lychee::activation::cpu
#endif
