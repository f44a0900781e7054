// Narrowing stores of the plain dtypes, rounding to nearest even as `f16` and `bf16` do. Compiled
// once per instruction set.
#if defined(LYCHEE_KERNELS_CPU_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_CPU_STORE_INL_H_
#undef LYCHEE_KERNELS_CPU_STORE_INL_H_
#else
#define LYCHEE_KERNELS_CPU_STORE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::cpu::HWY_NAMESPACE {

template <class D>
HWY_INLINE void store_f32(D d, hwy::HWY_NAMESPACE::Vec<D> value, float* to) {
  hwy::HWY_NAMESPACE::StoreU(value, d, to);
}

template <class D>
HWY_INLINE void store_f32([[maybe_unused]] D d, hwy::HWY_NAMESPACE::Vec<D> value, f16* to) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_CAP_GE256 || HWY_TARGET == HWY_NEON
  const hn::Rebind<hwy::float16_t, D> d16;
  hn::StoreU(hn::DemoteTo(d16, value), d16, reinterpret_cast<hwy::float16_t*>(to));
#else
  // Without a conversion instruction Highway truncates instead of rounding.
  HWY_ALIGN float lanes[hn::MaxLanes(D())];
  hn::Store(value, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    to[i] = f16(lanes[i]);
  }
#endif
}

// Highway's conversion to bfloat16 truncates too.
template <class D>
HWY_INLINE void store_f32(D /*d*/, hwy::HWY_NAMESPACE::Vec<D> value, bf16* to) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(du, value);
  const auto high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(du, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff))));
  const auto nan = hn::RebindMask(du, hn::IsNaN(value));
  const auto result = hn::IfThenElse(nan, hn::Or(high, hn::Set(du, 0x40)), rounded);
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, result)), d16, reinterpret_cast<uint16_t*>(to));
}

}  // namespace lychee::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
