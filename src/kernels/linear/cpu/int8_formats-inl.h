// How each quantised format turns 64 bytes of weights into four planes of 16-bit lanes
// (rounded_rows.h), and where its scales lie. Compiled once per instruction set.
#if defined(LYCHEE_INT8_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_INT8_FORMATS_INL_H_
#undef LYCHEE_INT8_FORMATS_INL_H_
#else
#define LYCHEE_INT8_FORMATS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/linear/cpu/rounded_rows.h"

#if HWY_TARGET != HWY_SCALAR  // see can_round_rows

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Bytes = hn::CappedTag<uint8_t, 64>;
using Words = hn::Repartition<uint16_t, Bytes>;
using SignedWords = hn::Repartition<int16_t, Bytes>;
using Sums = hn::Repartition<int32_t, Bytes>;
using Floats = hn::Repartition<float, Bytes>;
// A piece is 16 bytes, that is one 128-bit block of a vector; a tile has four on each side.
constexpr int kPieces = static_cast<int>(hn::MaxLanes(Bytes())) / 16;

using WordVec = hn::Vec<Words>;

struct Planes {
  WordVec low_even, low_odd, high_even, high_odd;
};

// A vector whose block i holds the 16 bytes at `at(first + i)`.
template <typename D, typename At>
HWY_INLINE hn::Vec<D> load_pieces(D d, int first, const At& at) {
  if constexpr (hn::MaxLanes(D()) == 16) {
    return hn::LoadU(d, at(first));
  } else {
    const hn::Half<D> half;
    constexpr int kHalf = static_cast<int>(hn::MaxLanes(D())) / 32;
    return hn::Combine(d, load_pieces(half, first + kHalf, at), load_pieces(half, first, at));
  }
}

// A vector whose block i repeats the four bytes at `at(first + i)`.
template <typename D, typename At>
HWY_INLINE hn::Vec<D> repeat_words(D d, int first, const At& at) {
  if constexpr (hn::MaxLanes(D()) == 16) {
    uint32_t word;
    std::memcpy(&word, at(first), sizeof(word));
    return hn::BitCast(d, hn::Set(hn::Repartition<uint32_t, D>(), word));
  } else {
    const hn::Half<D> half;
    constexpr int kHalf = static_cast<int>(hn::MaxLanes(D())) / 32;
    return hn::Combine(d, repeat_words(half, first + kHalf, at), repeat_words(half, first, at));
  }
}

HWY_INLINE Planes nibble_planes(hn::Vec<Bytes> packed) {
  const Words d;
  const auto w = hn::BitCast(d, packed);
  return {hn::And(w, hn::Set(d, 0x000f)), hn::And(w, hn::Set(d, 0x0f00)),
          hn::And(w, hn::Set(d, 0x00f0)), hn::ShiftRight<12>(w)};
}

// Adds the fifth bit, which is worth 16, wherever the plane's bit is set; the planes weigh 1, 256,
// 16 and 1.
struct FifthBits {
  hn::Mask<Words> low_even, low_odd, high_even, high_odd;
};

HWY_INLINE Planes add_fifth_bits(const Planes& p, const FifthBits& bits) {
  const Words d;
  return {hn::Or(p.low_even, hn::IfThenElseZero(bits.low_even, hn::Set(d, 0x0010))),
          hn::Or(p.low_odd, hn::IfThenElseZero(bits.low_odd, hn::Set(d, 0x1000))),
          hn::Or(p.high_even, hn::IfThenElseZero(bits.high_even, hn::Set(d, 0x0100))),
          hn::Or(p.high_odd, hn::IfThenElseZero(bits.high_odd, hn::Set(d, 0x0010)))};
}

// Formats of blocks of 32: a half-precision scale first, then perhaps a minimum and the fifth bits.
template <int kBytesPerBlock, int kMinByte, int kFifthByte, int kNibbleByte, int kZero>
struct Blocks32 {
  static constexpr RowOrder kOrder = RowOrder::kBlocks32;
  static constexpr int kBlockSize = 32;
  static constexpr int kBlockBytes = kBytesPerBlock;
  static constexpr int kMin = kMinByte;    // 0: none
  static constexpr int kOffset = kZero;    // subtracted from the stored integer
  static constexpr bool kOneScale = true;  // low and high nibbles of a block share it

  // Planes of the pieces [first, first + kPieces) of the tile that starts at `tile`.
  static HWY_INLINE Planes planes(const uint8_t* tile, int /*half*/, int first) {
    const Planes nibbles = nibble_planes(
        load_pieces(Bytes(), first, [&](int i) { return tile + i * kBlockBytes + kNibbleByte; }));
    if constexpr (kFifthByte == 0) {
      return nibbles;
    } else {
      return add_fifth_bits(nibbles, fifth_bits(tile, first));
    }
  }

  static HWY_INLINE FifthBits fifth_bits(const uint8_t* tile, int first) {
    alignas(16) static constexpr uint8_t kLow[16] = {0, 1, 0, 1, 0, 1, 0, 1,
                                                     0, 1, 0, 1, 0, 1, 0, 1};
    alignas(16) static constexpr uint8_t kHigh[16] = {2, 3, 2, 3, 2, 3, 2, 3,
                                                      2, 3, 2, 3, 2, 3, 2, 3};
    alignas(16) static constexpr uint16_t kEven[8] = {1, 4, 16, 64, 256, 1024, 4096, 16384};
    const Bytes db;
    const Words d;
    const auto words =
        repeat_words(db, first, [&](int i) { return tile + i * kBlockBytes + kFifthByte; });
    const auto low = hn::BitCast(d, hn::TableLookupBytes(words, hn::LoadDup128(db, kLow)));
    const auto high = hn::BitCast(d, hn::TableLookupBytes(words, hn::LoadDup128(db, kHigh)));
    const auto even = hn::LoadDup128(d, kEven);
    const auto odd = hn::Add(even, even);
    return {hn::TestBit(low, even), hn::TestBit(low, odd), hn::TestBit(high, even),
            hn::TestBit(high, odd)};
  }
};

using Q4_0 = Blocks32<18, 0, 0, 2, 8>;
using Q4_1 = Blocks32<20, 2, 0, 4, 0>;
using Q5_0 = Blocks32<22, 0, 2, 6, 16>;
using Q5_1 = Blocks32<24, 2, 4, 8, 0>;

struct Q8_0 {
  static constexpr RowOrder kOrder = RowOrder::kBytes;
  static constexpr int kBlockSize = 32;
  static constexpr int kBlockBytes = 34;
  static constexpr int kMin = 0;
  static constexpr int kOffset = 0;
  static constexpr bool kOneScale = false;

  static HWY_INLINE Planes planes(const uint8_t* tile, int /*half*/, int first) {
    const Words d;
    const auto at = [&](int i) { return tile + i / 2 * kBlockBytes + 2 + i % 2 * 16; };
    const auto low = hn::BitCast(d, load_pieces(Bytes(), first, at));
    const auto high = hn::BitCast(d, load_pieces(Bytes(), first + 4, at));
    const auto odd = hn::Set(d, 0xff00);
    return {hn::ShiftLeft<8>(low), hn::And(low, odd), hn::ShiftLeft<8>(high), hn::And(high, odd)};
  }
};

// Super-blocks of 256: two tiles, `half` says which.
template <int kBytesPerBlock, bool kFifth>
struct Chunks64 {
  static constexpr RowOrder kOrder = RowOrder::kChunks64;
  static constexpr int kBlockSize = 256;
  static constexpr int kBlockBytes = kBytesPerBlock;
  static constexpr bool kOneScale = false;

  static HWY_INLINE Planes planes(const uint8_t* block, int half, int first) {
    const uint8_t* packed = block + (kFifth ? 48 : 16) + half * 64 + first * 16;
    const Planes nibbles = nibble_planes(hn::LoadU(Bytes(), packed));
    if constexpr (kFifth) {
      return add_fifth_bits(nibbles, fifth_bits(block + 16, half, first));
    } else {
      return nibbles;
    }
  }

  // Byte i of the 32 holds the fifth bits of value i of all eight sub-blocks.
  static HWY_INLINE FifthBits fifth_bits(const uint8_t* bits, int half, int first) {
    alignas(64) static constexpr uint16_t kSubBlock[32] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                           1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4,
                                                           4, 4, 4, 4, 4, 4, 4, 4, 4, 4};
    const Words d;
    const auto w =
        hn::BitCast(d, load_pieces(Bytes(), first, [&](int i) { return bits + i % 2 * 16; }));
    const auto low = hn::ShiftLeftSame(hn::Load(d, kSubBlock + first * 8), 4 * half);
    const auto high = hn::Add(low, low);
    return {hn::TestBit(w, low), hn::TestBit(w, hn::ShiftLeft<8>(low)), hn::TestBit(w, high),
            hn::TestBit(w, hn::ShiftLeft<8>(high))};
  }
};

using Q4_K = Chunks64<144, false>;
using Q5_K = Chunks64<176, true>;

struct Q6_K {
  static constexpr RowOrder kOrder = RowOrder::kHalves128;
  static constexpr int kBlockSize = 256;
  static constexpr int kBlockBytes = 210;
  static constexpr bool kOneScale = false;

  static HWY_INLINE Planes planes(const uint8_t* block, int half, int first) {
    // Byte i of 32 holds the upper bit pairs of value i of four groups: 0 and 1 belong to low
    // nibbles (pieces 0-1 and 2-3), 2 and 3 to high ones.
    alignas(64) static constexpr uint16_t kShift[32] = {16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
                                                        16, 16, 16, 16, 16, 4,  4,  4,  4,  4,  4,
                                                        4,  4,  4,  4,  4,  4,  4,  4,  4,  4};
    const Words d;
    const Planes p = nibble_planes(hn::LoadU(Bytes(), block + half * 64 + first * 16));
    const uint8_t* upper = block + 128 + half * 32;
    const auto w =
        hn::BitCast(d, load_pieces(Bytes(), first, [&](int i) { return upper + i % 2 * 16; }));
    const auto shift = hn::Load(d, kShift + first * 8);
    const auto moved = hn::Mul(w, shift);
    // The top bits of `moved` are lost, so the odd high ones are moved after a shift down.
    const auto top = hn::ShiftRight<4>(hn::Mul(hn::ShiftRight<8>(w), shift));
    return {hn::Or(p.low_even, hn::And(moved, hn::Set(d, 0x0030))),
            hn::Or(p.low_odd, hn::And(moved, hn::Set(d, 0x3000))),
            hn::Or(p.high_even, hn::And(moved, hn::Set(d, 0x0300))),
            hn::Or(p.high_odd, hn::And(top, hn::Set(d, 0x0030)))};
  }
};

}  // namespace lychee::linear::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET

#endif  // per target
