// How each quantised format turns bytes of weights into two planes of one byte a value
// (rounded_rows.h), and where its scales lie. Compiled once per instruction set.
#if defined(LYCHEE_INT8_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_INT8_FORMATS_INL_H_
#undef LYCHEE_INT8_FORMATS_INL_H_
#else
#define LYCHEE_INT8_FORMATS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "kernels/cpu/dot_i8_inl.h"
#include "kernels/linear/cpu/rounded_rows.h"

#if HWY_TARGET != HWY_SCALAR  // see can_round_rows

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Bytes = lychee::cpu::HWY_NAMESPACE::UnsignedBytes;
using Words = hn::Repartition<uint16_t, Bytes>;
using Floats = hn::Repartition<float, Bytes>;
using ByteVec = hn::Vec<Bytes>;
// A piece is 16 bytes, that is one 128-bit block of a vector; a plane has four.
constexpr int kPieces = static_cast<int>(hn::MaxLanes(Bytes())) / 16;

struct Planes {
  ByteVec low, high;
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

HWY_INLINE Planes nibble_planes(ByteVec packed) {
  return {hn::And(packed, hn::Set(Bytes(), 0x0f)), hn::ShiftRight<4>(packed)};
}

// Adds the fifth bit, which is worth 16, where `bits` of a plane has the bit of `select`.
HWY_INLINE ByteVec add_fifth_bits(ByteVec plane, ByteVec bits, ByteVec select) {
  return hn::Or(plane, hn::IfThenElseZero(hn::TestBit(bits, select), hn::Set(Bytes(), 0x10)));
}

// Formats of blocks of 32: a half-precision scale first, then perhaps a minimum and the fifth bits.
template <int kBytesPerBlock, bool kHasMins, int kFifthByte, int kNibbleByte, int kZero>
struct Blocks32 {
  static constexpr RowOrder kOrder = RowOrder::kBlocks32;
  static constexpr int kBlockSize = 32;
  static constexpr int kBlockBytes = kBytesPerBlock;
  static constexpr bool kMins = kHasMins;  // a minimum behind the scale
  static constexpr int kOffset = kZero;    // subtracted from the stored integer
  static constexpr bool kOneScale = true;  // low and high values of a piece share it
  static constexpr bool kSigned = false;

  // Planes of the pieces [first, first + kPieces) of the tile that starts at `tile`.
  static HWY_INLINE Planes planes(const uint8_t* tile, int /*half*/, int first) {
    const Planes nibbles = nibble_planes(
        load_pieces(Bytes(), first, [&](int i) { return tile + i * kBlockBytes + kNibbleByte; }));
    if constexpr (kFifthByte == 0) {
      return nibbles;
    } else {
      return with_fifth_bits(nibbles, tile, first);
    }
  }

  // Bit i of four bytes belongs to value i of the block.
  static HWY_INLINE Planes with_fifth_bits(const Planes& p, const uint8_t* tile, int first) {
    alignas(16) static constexpr uint8_t kLow[16] = {0, 0, 0, 0, 0, 0, 0, 0,
                                                     1, 1, 1, 1, 1, 1, 1, 1};
    alignas(16) static constexpr uint8_t kHigh[16] = {2, 2, 2, 2, 2, 2, 2, 2,
                                                      3, 3, 3, 3, 3, 3, 3, 3};
    alignas(16) static constexpr uint8_t kSelect[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                                        1, 2, 4, 8, 16, 32, 64, 128};
    const Bytes d;
    const auto words =
        repeat_words(d, first, [&](int i) { return tile + i * kBlockBytes + kFifthByte; });
    const auto select = hn::LoadDup128(d, kSelect);
    return {add_fifth_bits(p.low, hn::TableLookupBytes(words, hn::LoadDup128(d, kLow)), select),
            add_fifth_bits(p.high, hn::TableLookupBytes(words, hn::LoadDup128(d, kHigh)), select)};
  }
};

using Q4_0 = Blocks32<18, false, 0, 2, 8>;
using Q4_1 = Blocks32<20, true, 0, 4, 0>;
using Q5_0 = Blocks32<22, false, 2, 6, 16>;
using Q5_1 = Blocks32<24, true, 4, 8, 0>;

struct Q8_0 {
  static constexpr RowOrder kOrder = RowOrder::kBlocks32;
  static constexpr int kBlockSize = 32;
  static constexpr int kBlockBytes = 34;
  static constexpr bool kMins = false;
  static constexpr int kOffset = 0;
  static constexpr bool kOneScale = true;
  static constexpr bool kSigned = true;

  static HWY_INLINE Planes planes(const uint8_t* tile, int /*half*/, int first) {
    const Bytes d;
    return {load_pieces(d, first, [&](int i) { return tile + i * kBlockBytes + 2; }),
            load_pieces(d, first, [&](int i) { return tile + i * kBlockBytes + 18; })};
  }
};

// Super-blocks of 256: two tiles, `half` says which.
template <int kBytesPerBlock, bool kFifth>
struct Chunks64 {
  static constexpr RowOrder kOrder = RowOrder::kChunks64;
  static constexpr int kBlockSize = 256;
  static constexpr int kBlockBytes = kBytesPerBlock;
  static constexpr bool kMins = true;
  static constexpr int kOffset = 0;
  static constexpr bool kOneScale = false;
  static constexpr bool kSigned = false;

  static HWY_INLINE Planes planes(const uint8_t* block, int half, int first) {
    const uint8_t* packed = block + (kFifth ? 48 : 16) + half * 64 + first * 16;
    const Planes nibbles = nibble_planes(hn::LoadU(Bytes(), packed));
    if constexpr (kFifth) {
      return with_fifth_bits(nibbles, block + 16, half, first);
    } else {
      return nibbles;
    }
  }

  // Byte i of the 32 holds the fifth bits of value i of all eight sub-blocks.
  static HWY_INLINE Planes with_fifth_bits(const Planes& p, const uint8_t* bits, int half,
                                           int first) {
    alignas(64) static constexpr uint8_t kSubBlock[2][64] = {
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
         1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4,
         4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4},
        {16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
         16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
         64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64}};
    const Bytes d;
    const auto pieces = load_pieces(d, first, [&](int i) { return bits + i % 2 * 16; });
    const auto low = hn::Load(d, kSubBlock[half] + first * 16);
    return {add_fifth_bits(p.low, pieces, low), add_fifth_bits(p.high, pieces, hn::Add(low, low))};
  }
};

using Q4_K = Chunks64<144, false>;
using Q5_K = Chunks64<176, true>;

struct Q6_K {
  static constexpr RowOrder kOrder = RowOrder::kHalves128;
  static constexpr int kBlockSize = 256;
  static constexpr int kBlockBytes = 210;
  static constexpr bool kMins = false;
  static constexpr int kOffset = 32;
  static constexpr bool kOneScale = false;
  static constexpr bool kSigned = false;

  static HWY_INLINE Planes planes(const uint8_t* block, int half, int first) {
    // Byte i of 32 holds the upper bit pairs of value i of four groups: 0 and 1 belong to low
    // nibbles (pieces 0-1 and 2-3), 2 and 3 to high ones. Products move a pair to bits 4 and 5.
    alignas(64) static constexpr uint16_t kMove[32] = {16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16,
                                                       16, 16, 16, 16, 16, 4,  4,  4,  4,  4,  4,
                                                       4,  4,  4,  4,  4,  4,  4,  4,  4,  4};
    const Bytes d;
    const Words dw;
    const Planes p = nibble_planes(hn::LoadU(d, block + half * 64 + first * 16));
    const uint8_t* upper = block + 128 + half * 32;
    const auto pairs =
        hn::BitCast(dw, load_pieces(d, first, [&](int i) { return upper + i % 2 * 16; }));
    const auto move = hn::Load(dw, kMove + first * 8);
    const auto low = hn::BitCast(d, hn::Mul(pairs, move));
    const auto high = hn::BitCast(d, hn::Mul(hn::ShiftRight<4>(pairs), move));
    const auto mask = hn::Set(d, 0x30);
    return {hn::Or(p.low, hn::And(low, mask)), hn::Or(p.high, hn::And(high, mask))};
  }
};

}  // namespace lychee::linear::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET

#endif  // per target
