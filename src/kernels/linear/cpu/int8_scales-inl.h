// The scales and minima of rows of quantised weights, widened to f32. Compiled once per instruction
// set.
#if defined(LYCHEE_INT8_SCALES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_INT8_SCALES_INL_H_
#undef LYCHEE_INT8_SCALES_INL_H_
#else
#define LYCHEE_INT8_SCALES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/linear/cpu/int8_formats-inl.h"
#include "tensor/dtype.h"

#if HWY_TARGET != HWY_SCALAR  // see can_round_rows

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {

// Of one row of weights: scales and what goes with them, in the turns of RoundedRows::scales; zero
// beyond in_features. What goes with a scale, times the sum of the activations, is what a format
// adds to every weight: its minimum, or the scale itself times -kOffset.
//
// Filling them takes two steps, and between those of a row the sums of earlier rows are formed: the
// first gathers halves with plain moves, which leave the vector units alone; the second loads them
// as vectors, which stalls while the moves are still in the store buffer.
struct RowScales {
  uint16_t* raw;  // [scale_stride] as they lie, formats of blocks of 32
  float* pairs;   // [scale_stride]
};

// What the sum that goes with a scale counts.
template <typename Format>
constexpr float sum_weight() {
  return Format::kOffset != 0 ? static_cast<float>(-Format::kOffset) : (Format::kMins ? 1.0F : 0);
}

template <typename Format>
HWY_INLINE void gather_pair(const uint8_t* block, uint16_t* to) {
  uint32_t pair;
  if constexpr (Format::kMins) {
    std::memcpy(&pair, block, sizeof(pair));
  } else {
    uint16_t half;
    std::memcpy(&half, block, sizeof(half));
    pair = half * uint32_t{0x10001};
  }
  std::memcpy(to, &pair, sizeof(pair));
}

template <typename Format>
HWY_INLINE void gather_scales(const uint8_t* row, int64_t num_blocks, const RowScales& to) {
  if constexpr (Format::kBlockSize == 32) {
    constexpr int64_t kUnroll = 4;
    int64_t i = 0;
    for (; i + kUnroll <= num_blocks; i += kUnroll, row += kUnroll * Format::kBlockBytes) {
      for (int64_t j = 0; j < kUnroll; ++j) {
        gather_pair<Format>(row + j * Format::kBlockBytes, to.raw + 2 * (i + j));
      }
    }
    for (; i < num_blocks; ++i, row += Format::kBlockBytes) {
      gather_pair<Format>(row, to.raw + 2 * i);
    }
  }
}

HWY_INLINE float read_half(const uint8_t* src) {
  const hn::CappedTag<float, 4> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> dh;
  uint16_t half;
  std::memcpy(&half, src, sizeof(half));
  return hn::GetLane(
      hn::PromoteTo(d, hn::BitCast(dh, hn::Set(hn::Rebind<uint16_t, decltype(d)>(), half))));
}

// dst[0, 8) = factor · bytes
template <typename Byte>
HWY_INLINE void scale_bytes(const Byte* bytes, float factor, float* dst) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<Byte, decltype(d)> db;
  for (int64_t i = 0; i < 8; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto v = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(db, bytes + i)));
    hn::Store(hn::Mul(v, hn::Set(d, factor)), d, dst + i);
  }
}

// Eight 6-bit scales and minima in 12 bytes: bytes 0-3 and 4-7 hold the first four and, on top, the
// upper two bits of the others, whose lower four bits are in bytes 8-11.
HWY_INLINE void widen_chunk_scales(const uint8_t* block, float* pairs) {
  uint32_t words[3];
  std::memcpy(words, block + 4, sizeof(words));
  const uint64_t packed[2] = {
      (words[0] & 0x3f3f3f3f) | uint64_t{(words[2] & 0x0f0f0f0f) | (words[0] >> 2 & 0x30303030)}
                                    << 32,
      (words[1] & 0x3f3f3f3f) |
          uint64_t{(words[2] >> 4 & 0x0f0f0f0f) | (words[1] >> 2 & 0x30303030)} << 32};
  uint8_t bytes[16];
  std::memcpy(bytes, packed, sizeof(bytes));
  scale_bytes(bytes, read_half(block), pairs);
  scale_bytes(bytes + 8, -read_half(block + 2), pairs + 8);
}

HWY_INLINE void widen_half_scales(const uint8_t* block, float* pairs) {
  const auto* bytes = reinterpret_cast<const int8_t*>(block) + 192;
  const float scale = read_half(block + 208);
  for (int64_t i = 0; i < 2; ++i) {
    scale_bytes(bytes + i * 8, scale, pairs + i * 16);
    scale_bytes(bytes + i * 8, scale, pairs + i * 16 + 8);
  }
}

// `row` is what was gathered from.
template <typename Format>
HWY_INLINE void widen_scales(const uint8_t* row, int64_t num_blocks, const RowScales& to) {
  if constexpr (Format::kBlockSize == 32) {
    const Floats d;
    const hn::Rebind<hwy::float16_t, Floats> dh;
    const hn::Rebind<uint16_t, Floats> du;
    for (int64_t i = 0; i < 2 * num_blocks; i += static_cast<int64_t>(hn::Lanes(d))) {
      hn::Store(hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(du, to.raw + i))), d, to.pairs + i);
    }
  } else {
    for (int64_t b = 0; b < num_blocks; ++b, row += Format::kBlockBytes) {
      if constexpr (Format::kOrder == RowOrder::kChunks64) {
        widen_chunk_scales(row, to.pairs + b * 16);
      } else {
        widen_half_scales(row, to.pairs + b * 32);
      }
    }
  }
}

// product = the scales of weights times those of x; returns what the sums of x contribute, by lane.
template <typename Format>
HWY_INLINE hn::Vec<Floats> multiply_scales(const RowScales& weights, const float* x_scales,
                                           int64_t stride, float* product) {
  // Which of 16 floats are sums.
  constexpr float kWeight = sum_weight<Format>();
  alignas(64) static constexpr float kInTurns[16] = {0, kWeight, 0, kWeight, 0, kWeight,
                                                     0, kWeight, 0, kWeight, 0, kWeight,
                                                     0, kWeight, 0, kWeight};
  alignas(64) static constexpr float kEights[16] = {
      0,       0,       0,       0,       0,       0,       0,       0,
      kWeight, kWeight, kWeight, kWeight, kWeight, kWeight, kWeight, kWeight};
  const Floats d;
  const float* counts = scale_group(Format::kOrder) == 1 ? kInTurns : kEights;
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < stride; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto v = hn::Mul(hn::Load(d, weights.pairs + i), hn::Load(d, x_scales + i));
    hn::Store(v, d, product + i);
    if constexpr (kWeight != 0) {
      sum = hn::MulAdd(v, hn::Load(d, counts + i % 16), sum);
    }
  }
  return sum;
}

}  // namespace lychee::linear::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET

#endif  // per target
