// Sums over the lanes of four vectors at once, which cost little more than those of one. Compiled
// once per instruction set.
#if defined(LYCHEE_KERNELS_CPU_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_CPU_SUM_INL_H_
#undef LYCHEE_KERNELS_CPU_SUM_INL_H_
#else
#define LYCHEE_KERNELS_CPU_SUM_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lychee::cpu::HWY_NAMESPACE {

// to[i] = sum of the lanes of the i-th vector, added in the same order for each.
#if HWY_TARGET == HWY_SCALAR
template <class D, class V>
HWY_INLINE void store_four_sums(D /*d*/, V a, V b, V c, V e, float* to) {
  namespace hn = hwy::HWY_NAMESPACE;
  to[0] = hn::GetLane(a);
  to[1] = hn::GetLane(b);
  to[2] = hn::GetLane(c);
  to[3] = hn::GetLane(e);
}
#else
template <class D, class V>
HWY_INLINE void store_block_sums(D d, V v, float* to) {
  namespace hn = hwy::HWY_NAMESPACE;
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    store_block_sums(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), to);
  } else {
    hn::StoreU(v, d, to);
  }
}

template <class D, class V>
HWY_INLINE void store_four_sums(D d, V a, V b, V c, V e, float* to) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Repartition<uint64_t, D> d64;
  const auto ab =
      hn::BitCast(d64, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce =
      hn::BitCast(d64, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  store_block_sums(d,
                   hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab, ce)),
                           hn::BitCast(d, hn::InterleaveUpper(d64, ab, ce))),
                   to);
}
#endif

}  // namespace lychee::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
