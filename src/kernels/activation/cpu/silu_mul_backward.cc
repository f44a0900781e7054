#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/cpu/silu_mul_backward.cc"
#include "kernels/activation/silu_mul_backward.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>
// After highway.h, and once per target.
#include <hwy/contrib/math/math-inl.h>

HWY_BEFORE_NAMESPACE();
namespace lychee::activation::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE void backward_vector(D d, const SiluMulBackwardParams<float>& p, int64_t i) {
  const auto one = hn::Set(d, 1.0F);
  const auto gate = hn::LoadU(d, p.gate + i);
  const auto dy = hn::LoadU(d, p.dy + i);
  // Below -87 exp(-gate) overflows; NaN passes.
  const auto low = hn::Set(d, -87.0F);
  const auto x = hn::IfThenElse(hn::Lt(gate, low), low, gate);
  const auto sigmoid = hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(x))));
  const auto slope = hn::Mul(sigmoid, hn::MulAdd(gate, hn::Sub(one, sigmoid), one));
  const auto d_gate = hn::Mul(hn::Mul(dy, hn::LoadU(d, p.up + i)), slope);
  hn::StoreU(hn::Mul(dy, hn::Mul(gate, sigmoid)), d, p.d_up + i);
  hn::StoreU(d_gate, d, p.d_gate + i);
}

void silu_mul_backward_row(const SiluMulBackwardParams<float>& p, int64_t row) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t end = row * p.stride + p.dim;
  int64_t i = row * p.stride;
  for (; i + lanes <= end; i += lanes) {
    backward_vector(d, p, i);
  }
  for (; i < end; ++i) {
    backward_vector(hn::CappedTag<float, 1>(), p, i);
  }
}

}  // namespace lychee::activation::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::activation::cpu {

HWY_EXPORT(silu_mul_backward_row);

void silu_mul_backward(const SiluMulBackwardParams<float>& params) {
  const auto run = HWY_DYNAMIC_DISPATCH(silu_mul_backward_row);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < params.num_rows; ++r) {
    run(params, r);
  }
}

}  // namespace lychee::activation::cpu
#endif
