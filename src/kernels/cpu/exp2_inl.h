// 2^x for softmax weights. Compiled once per instruction set.
#if defined(LYCHEE_KERNELS_CPU_EXP2_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_CPU_EXP2_INL_H_
#undef LYCHEE_KERNELS_CPU_EXP2_INL_H_
#else
#define LYCHEE_KERNELS_CPU_EXP2_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace lychee::cpu::HWY_NAMESPACE {

// 2^x for x <= 0, relative error below 2e-7; 0 below -126, where results would be denormal; NaN
// stays NaN. exp2(0) is exactly 1.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> exp2_nonpositive(D d, hwy::HWY_NAMESPACE::Vec<D> x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  // Adding 1.5 · 2^23 rounds to an integer and leaves it in the low bits; 127 is the exponent's
  // bias.
  const auto magic = hn::Set(d, 12582912.0F + 127.0F);
  const auto shifted = hn::Add(x, magic);
  const auto fraction = hn::Sub(x, hn::Sub(shifted, magic));  // [-0.5, 0.5]
  // Minimax polynomial of (2^f - 1) / f, so that 2^0 is exact.
  auto p = hn::Set(d, 1.326472731e-3F);
  p = hn::MulAdd(p, fraction, hn::Set(d, 9.671512991e-3F));
  p = hn::MulAdd(p, fraction, hn::Set(d, 5.550733581e-2F));
  p = hn::MulAdd(p, fraction, hn::Set(d, 2.402224243e-1F));
  p = hn::MulAdd(p, fraction, hn::Set(d, 6.931470037e-1F));
  p = hn::MulAdd(p, fraction, hn::Set(d, 1.0F));
  const auto power = hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  const auto result = hn::Mul(p, power);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0F)), result);
}

}  // namespace lychee::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
