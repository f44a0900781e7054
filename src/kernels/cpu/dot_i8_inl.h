// Dot products of bytes: Highway 1.0.3 has none, and one instruction that widens, multiplies and
// adds is worth four others. Here, and nowhere else, instructions are named directly, one function
// each; `dot_quads` and `dot_quads_signed` are what kernels use. Compiled once per instruction set.
#if defined(LYCHEE_KERNELS_CPU_DOT_I8_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_CPU_DOT_I8_INL_H_
#undef LYCHEE_KERNELS_CPU_DOT_I8_INL_H_
#else
#define LYCHEE_KERNELS_CPU_DOT_I8_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#if HWY_TARGET != HWY_SCALAR

HWY_BEFORE_NAMESPACE();
namespace lychee::cpu::HWY_NAMESPACE {

// Vectors of any one width, of at most 64 bytes.
using UnsignedBytes = hwy::HWY_NAMESPACE::CappedTag<uint8_t, 64>;
using SignedBytes = hwy::HWY_NAMESPACE::Repartition<int8_t, UnsignedBytes>;
using QuadSums = hwy::HWY_NAMESPACE::Repartition<int32_t, UnsignedBytes>;
using UnsignedByteVec = hwy::HWY_NAMESPACE::Vec<UnsignedBytes>;
using SignedByteVec = hwy::HWY_NAMESPACE::Vec<SignedBytes>;
using QuadSumVec = hwy::HWY_NAMESPACE::Vec<QuadSums>;
using PairSums = hwy::HWY_NAMESPACE::Repartition<int16_t, UnsignedBytes>;
using PairSumVec = hwy::HWY_NAMESPACE::Vec<PairSums>;

#if HWY_TARGET == HWY_AVX3_DL

// vpdpbusd on 512 bits: a <= 255. Assembly, since Highway compiles this target for the
// instruction's other form, of 256 bits, and then the compiler refuses the intrinsic.
HWY_INLINE QuadSumVec dot_bytes(QuadSumVec sums, UnsignedByteVec a, SignedByteVec b) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums.raw) : "v"(a.raw), "vm"(b.raw));
  return sums;
}

#elif HWY_TARGET == HWY_NEON && defined(__ARM_FEATURE_DOTPROD)

// sdot.
HWY_INLINE QuadSumVec dot_bytes(QuadSumVec sums, SignedByteVec a, SignedByteVec b) {
  return QuadSumVec(vdotq_s32(sums.raw, a.raw, b.raw));
}

#elif HWY_TARGET == HWY_AVX3

// vpmaddubsw on 512 bits: a <= 128, |b| <= 127, or the sums of pairs saturate.
HWY_INLINE PairSumVec dot_pairs(UnsignedByteVec a, SignedByteVec b) {
  return PairSumVec{_mm512_maddubs_epi16(a.raw, b.raw)};
}

#elif HWY_TARGET == HWY_AVX2

// vpmaddubsw on 256 bits, as above.
HWY_INLINE PairSumVec dot_pairs(UnsignedByteVec a, SignedByteVec b) {
  return PairSumVec{_mm256_maddubs_epi16(a.raw, b.raw)};
}

#elif HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_SSSE3

// pmaddubsw, as above.
HWY_INLINE PairSumVec dot_pairs(UnsignedByteVec a, SignedByteVec b) {
  return PairSumVec{_mm_maddubs_epi16(a.raw, b.raw)};
}

#else

// No such instruction: the same sums from 16-bit products.
HWY_INLINE PairSumVec dot_pairs(UnsignedByteVec a, SignedByteVec b) {
  namespace hn = hwy::HWY_NAMESPACE;
  const PairSums d;
  const hn::RebindToUnsigned<PairSums> du;
  const auto a16 = hn::BitCast(du, a);
  const auto b16 = hn::BitCast(d, b);
  const auto even = hn::Mul(hn::BitCast(d, hn::And(a16, hn::Set(du, 0xff))),
                            hn::ShiftRight<8>(hn::ShiftLeft<8>(b16)));
  return hn::Add(even, hn::Mul(hn::BitCast(d, hn::ShiftRight<8>(a16)), hn::ShiftRight<8>(b16)));
}

#endif

// sums[i] + a[4i] · b[4i] + … + a[4i + 3] · b[4i + 3] for a <= 127 and |b| <= 127, exactly.
HWY_INLINE QuadSumVec dot_quads(QuadSumVec sums, UnsignedByteVec a, SignedByteVec b) {
#if HWY_TARGET == HWY_AVX3_DL
  return dot_bytes(sums, a, b);
#elif HWY_TARGET == HWY_NEON && defined(__ARM_FEATURE_DOTPROD)
  return dot_bytes(sums, hwy::HWY_NAMESPACE::BitCast(SignedBytes(), a), b);
#else
  namespace hn = hwy::HWY_NAMESPACE;
  auto rest = hn::Zero(QuadSums());
  sums = hn::ReorderWidenMulAccumulate(QuadSums(), dot_pairs(a, b), hn::Set(PairSums(), 1), sums,
                                       rest);
  return hn::RearrangeToOddPlusEven(sums, rest);
#endif
}

// The same for signed a of any size.
HWY_INLINE QuadSumVec dot_quads_signed(QuadSumVec sums, SignedByteVec a, SignedByteVec b) {
#if HWY_TARGET == HWY_NEON && defined(__ARM_FEATURE_DOTPROD)
  return dot_bytes(sums, a, b);
#else
  // |a| · (b with the sign of a); |-128| is 128 as an unsigned byte.
  namespace hn = hwy::HWY_NAMESPACE;
  const SignedBytes d;
  const auto flipped = hn::IfThenElse(hn::Lt(a, hn::Zero(d)), hn::Neg(b), b);
  return dot_quads(sums, hn::BitCast(UnsignedBytes(), hn::Abs(a)), flipped);
#endif
}

}  // namespace lychee::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET

#endif  // per target
