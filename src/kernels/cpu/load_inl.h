// Widening loads of the plain dtypes. Compiled once per instruction set.
#if defined(LYCHEE_KERNELS_CPU_LOAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_CPU_LOAD_INL_H_
#undef LYCHEE_KERNELS_CPU_LOAD_INL_H_
#else
#define LYCHEE_KERNELS_CPU_LOAD_INL_H_
#endif

#include <hwy/highway.h>

#include "tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::cpu::HWY_NAMESPACE {

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_f32(D d, const float* from) {
  return hwy::HWY_NAMESPACE::LoadU(d, from);
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_f32(D d, const f16* from) {
  const hwy::HWY_NAMESPACE::Rebind<hwy::float16_t, D> d16;
  return hwy::HWY_NAMESPACE::PromoteTo(
      d, hwy::HWY_NAMESPACE::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from)));
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_f32(D d, const bf16* from) {
  const hwy::HWY_NAMESPACE::Rebind<hwy::bfloat16_t, D> d16;
  return hwy::HWY_NAMESPACE::PromoteTo(
      d, hwy::HWY_NAMESPACE::LoadU(d16, reinterpret_cast<const hwy::bfloat16_t*>(from)));
}

}  // namespace lychee::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
