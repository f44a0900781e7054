#include "kernels/attention/cpu/gather_above.h"

#include "kernels/attention/cpu/rank.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/gather_above.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

// score_key minus 2^31, so that comparisons are signed.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> signed_keys(D d, const float* scores) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto bits = hn::LoadU(d, reinterpret_cast<const int32_t*>(scores));
  const auto inf = hn::Set(d, 0x7f800000);
  const auto magnitude = hn::And(bits, hn::Set(d, 0x7fffffff));
  const auto key =
      hn::IfThenElse(hn::Lt(bits, hn::Zero(d)), hn::Sub(hn::Zero(d), magnitude), magnitude);
  return hn::IfThenElse(hn::Gt(magnitude, inf), hn::Sub(hn::Zero(d), inf), key);
}

int64_t gather_above_target(const float* scores, int64_t first, int64_t end, uint32_t pivot,
                            int64_t capacity, uint32_t* keys, int32_t* positions) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::CappedTag<int32_t, kGatherPadding> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto sign = hn::Set(d, INT32_MIN);
  const auto lowest = hn::Xor(hn::Set(d, static_cast<int32_t>(pivot)), sign);
  int64_t count = 0;
  int64_t i = first;
  for (; i + lanes <= end && count <= capacity; i += lanes) {
    const auto key = signed_keys(d, scores + i);
    const auto taken = hn::Not(hn::Lt(key, lowest));
    if (hn::AllFalse(d, taken)) {
      continue;
    }
    hn::CompressStore(hn::Iota(d, static_cast<int32_t>(i)), taken, d, positions + count);
    count += static_cast<int64_t>(
        hn::CompressStore(hn::Xor(key, sign), taken, d, reinterpret_cast<int32_t*>(keys) + count));
  }
  for (; i < end && count <= capacity; ++i) {
    keys[count] = score_key(scores[i]);
    positions[count] = static_cast<int32_t>(i);
    count += keys[count] >= pivot ? 1 : 0;
  }
  return count;
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(gather_above_target);

int64_t gather_above(const float* scores, int64_t first, int64_t end, uint32_t pivot,
                     int64_t capacity, uint32_t* keys, int32_t* positions) {
  return HWY_DYNAMIC_DISPATCH(gather_above_target)(scores, first, end, pivot, capacity, keys,
                                                   positions);
}

}  // namespace lychee::attention::cpu
#endif
