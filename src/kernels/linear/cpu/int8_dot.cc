#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/int8_dot.cc"
#include "kernels/linear/cpu/int8_dot.h"

#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/math.h"
#include "kernels/linear/cpu/int8_formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // see can_round_rows

void int8_outputs(const LinearTarget& /*target*/, const RoundedRows& /*rows*/, int64_t /*num_rows*/,
                  int64_t /*in_features*/, bool /*accumulate*/, int64_t /*begin*/, int64_t /*end*/,
                  float* /*scratch*/) {}

#else

using Scales = hn::CappedTag<float, 16>;  // the same lanes as Floats

// One row of weights: `scales` and `mins` in the order of RoundedRows::scales.
struct WeightRow {
  const uint8_t* data;
  const uint8_t* last;  // the last tile of formats of 32, perhaps a copy with zeros behind
  float* scales;        // [scale_stride], zero beyond in_features
  float* mins;          // added to every weight that a scale belongs to
};

void widen_halves(const uint16_t* halves, int64_t count, float* out) {
  const Scales d;
  const hn::Rebind<hwy::float16_t, Scales> dh;
  const hn::Rebind<uint16_t, Scales> du;
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::Store(hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(du, halves + i))), d, out + i);
  }
}

float read_half(const uint8_t* src) {
  f16 half;
  std::memcpy(&half.bits, src, sizeof(half.bits));
  return static_cast<float>(half);
}

// Scales take two steps, and between those of a row the sums of the row before are formed: the
// first gathers halves with plain moves, which leave the vector units alone; the second loads them
// as vectors, which stalls while the moves are still in the store buffer.
struct RawScales {
  uint16_t* scales;
  uint16_t* mins;
};

template <typename Format>
void gather_scales(const uint8_t* row, int64_t num_blocks, const RawScales& raw) {
  if constexpr (Format::kBlockSize == 32) {
    for (int64_t i = 0; i < num_blocks; ++i, row += Format::kBlockBytes) {
      std::memcpy(&raw.scales[i], row, sizeof(uint16_t));
      if constexpr (Format::kMin != 0) {
        std::memcpy(&raw.mins[i], row + Format::kMin, sizeof(uint16_t));
      }
    }
  }
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
HWY_INLINE void widen_chunk_scales(const uint8_t* block, float* scales, float* mins) {
  uint32_t words[3];
  std::memcpy(words, block + 4, sizeof(words));
  const uint64_t packed[2] = {
      (words[0] & 0x3f3f3f3f) | uint64_t{(words[2] & 0x0f0f0f0f) | (words[0] >> 2 & 0x30303030)}
                                    << 32,
      (words[1] & 0x3f3f3f3f) |
          uint64_t{(words[2] >> 4 & 0x0f0f0f0f) | (words[1] >> 2 & 0x30303030)} << 32};
  uint8_t bytes[16];
  std::memcpy(bytes, packed, sizeof(bytes));
  scale_bytes(bytes, read_half(block), scales);
  scale_bytes(bytes + 8, -read_half(block + 2), mins);
}

template <typename Format>
void widen_scales(const WeightRow& row, int64_t num_blocks, const RawScales& raw) {
  if constexpr (Format::kBlockSize == 32) {
    widen_halves(raw.scales, num_blocks, row.scales);
    if constexpr (Format::kMin != 0) {
      widen_halves(raw.mins, num_blocks, row.mins);
    } else if constexpr (Format::kOffset != 0) {
      const Scales d;
      for (int64_t i = 0; i < num_blocks; i += static_cast<int64_t>(hn::Lanes(d))) {
        const auto offset = hn::Set(d, -Format::kOffset);
        hn::Store(hn::Mul(hn::Load(d, row.scales + i), offset), d, row.mins + i);
      }
    }
  } else {
    for (int64_t b = 0; b < num_blocks; ++b) {
      const uint8_t* block = row.data + b * Format::kBlockBytes;
      if constexpr (Format::kOrder == RowOrder::kChunks64) {
        widen_chunk_scales(block, row.scales + b * 8, row.mins + b * 8);
      } else {
        const auto* bytes = reinterpret_cast<const int8_t*>(block) + 192;
        const float scale = read_half(block + 208);
        scale_bytes(bytes, scale, row.scales + b * 16);
        scale_bytes(bytes + 8, scale, row.scales + b * 16 + 8);
        scale_bytes(bytes, -32 * scale, row.mins + b * 16);
        scale_bytes(bytes + 8, -32 * scale, row.mins + b * 16 + 8);
      }
    }
  }
}

// Which of the four scales at hand belongs to each lane of the low and the high sums of a tile, by
// RowOrder.
alignas(64) constexpr int32_t kLowScales[kRowOrders][16] = {
    {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1},
    {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3},
    {0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2},
    {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}};
alignas(64) constexpr int32_t kHighScales[kRowOrders][16] = {
    {2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3},
    {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3},
    {1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3},
    {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}};

HWY_INLINE hn::Vec<Floats> spread_scales(const float* scales, const int32_t* lanes) {
  const Floats d;
  return hn::TableLookupLanes(hn::LoadDup128(d, scales), hn::SetTableIndices(d, lanes));
}

HWY_INLINE hn::Vec<Sums> dot_planes(WordVec even, WordVec odd, const int16_t* x_even) {
  const SignedWords d;
  const Sums ds;
  auto rest = hn::Zero(ds);
  auto sum = hn::ReorderWidenMulAccumulate(ds, hn::BitCast(d, even), hn::Load(d, x_even),
                                           hn::Zero(ds), rest);
  sum = hn::ReorderWidenMulAccumulate(ds, hn::BitCast(d, odd), hn::Load(d, x_even + 32), sum, rest);
  return hn::RearrangeToOddPlusEven(sum, rest);
}

struct Accumulators {
  hn::Vec<Floats> low, high;
};

template <typename Format>
HWY_INLINE void dot_tile(const uint8_t* tile, int half, const int16_t* x, const float* scales,
                         Accumulators& acc) {
  constexpr auto kOrder = static_cast<int>(Format::kOrder);
  const Floats d;
  for (int first = 0; first < 4; first += kPieces) {
    const Planes w = Format::planes(tile, half, first);
    const auto low = dot_planes(w.low_even, w.low_odd, x + first * 8);
    const auto high = dot_planes(w.high_even, w.high_odd, x + 64 + first * 8);
    const auto low_scales = spread_scales(scales, kLowScales[kOrder] + first * 4);
    if constexpr (Format::kOneScale) {
      acc.low = hn::MulAdd(hn::ConvertTo(d, hn::Add(low, high)), low_scales, acc.low);
    } else {
      constexpr int kNext = Format::kOrder == RowOrder::kHalves128 ? 4 : 0;
      const auto high_scales = spread_scales(scales + kNext, kHighScales[kOrder] + first * 4);
      acc.low = hn::MulAdd(hn::ConvertTo(d, low), low_scales, acc.low);
      acc.high = hn::MulAdd(hn::ConvertTo(d, high), high_scales, acc.high);
    }
  }
}

// product = the scales of weights times those of x; returns what the minima contribute, by lane.
template <bool kMins>
HWY_INLINE hn::Vec<Floats> multiply_scales(const WeightRow& row, const RoundedRows& rows, int64_t r,
                                           float* product) {
  const Floats d;
  const float* scales = rows.scales + r * rows.scale_stride;
  const float* sums = rows.sums + r * rows.scale_stride;
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < rows.scale_stride; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::Store(hn::Mul(hn::Load(d, row.scales + i), hn::Load(d, scales + i)), d, product + i);
    if constexpr (kMins) {
      sum = hn::MulAdd(hn::Load(d, row.mins + i), hn::Load(d, sums + i), sum);
    }
  }
  return sum;
}

template <typename Format>
constexpr bool has_mins() {
  if constexpr (Format::kBlockSize == 256) {
    return true;
  } else {
    return Format::kMin != 0 || Format::kOffset != 0;
  }
}

// The last tile of a row. Where it is partial, the next row follows, which a scale of zero cancels;
// but behind the last rows there is nothing to read, so those are copied.
template <typename Format>
const uint8_t* last_tile(const uint8_t* row, int64_t num_blocks, int64_t rows_behind,
                         uint8_t* copy) {
  constexpr int64_t kPerTile = HWY_MAX(kTile / Format::kBlockSize, 1);
  const int64_t first = (num_blocks - 1) / kPerTile * kPerTile;
  const uint8_t* tile = row + first * Format::kBlockBytes;
  if (num_blocks - first + rows_behind * num_blocks >= kPerTile) {
    return tile;
  }
  std::memcpy(copy, tile, static_cast<size_t>((num_blocks - first) * Format::kBlockBytes));
  return copy;
}

template <typename Format>
float dot_row(const WeightRow& row, const RoundedRows& rows, int64_t r, float* product) {
  const Floats d;
  const int16_t* x = rows.values + r * rows.num_tiles * kTile;
  constexpr int64_t kPerTile = Format::kOrder == RowOrder::kHalves128 ? 8 : 4;
  Accumulators acc = {hn::Zero(d), multiply_scales<has_mins<Format>()>(row, rows, r, product)};
  if constexpr (Format::kBlockSize == 256) {
    for (int64_t b = 0; b < rows.num_tiles / 2; ++b) {
      const uint8_t* block = row.data + b * Format::kBlockBytes;
      dot_tile<Format>(block, 0, x + b * 2 * kTile, product + b * 2 * kPerTile, acc);
      dot_tile<Format>(block, 1, x + (b * 2 + 1) * kTile, product + (b * 2 + 1) * kPerTile, acc);
    }
  } else {
    const int64_t last = rows.num_tiles - 1;
    for (int64_t t = 0; t < last; ++t) {
      dot_tile<Format>(row.data + t * 4 * Format::kBlockBytes, 0, x + t * kTile,
                       product + t * kPerTile, acc);
    }
    dot_tile<Format>(row.last, 0, x + last * kTile, product + last * kPerTile, acc);
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(acc.low, acc.high)));
}

// A row some way ahead: the processor's own prefetching stops at every page of 4 KB.
void prefetch(const uint8_t* row, int64_t row_bytes) {
  constexpr int64_t kAhead = 4096;
  constexpr int64_t kLine = 64;
  for (int64_t i = 0; i < row_bytes; i += kLine) {
    hwy::Prefetch(row + kAhead + i);
  }
}

template <typename Format>
void outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
             int64_t in_features, bool accumulate, int64_t begin, int64_t end, float* scratch) {
  const int64_t num_blocks = in_features / Format::kBlockSize;
  const int64_t row_bytes = num_blocks * Format::kBlockBytes;
  const int64_t stride = rows.scale_stride;
  const auto* data = reinterpret_cast<const uint8_t*>(target.weight) + begin * row_bytes;
  std::fill_n(scratch, 4 * stride, 0.0F);  // what lies beyond the last block stays so
  float* product = scratch + 2 * stride;
  auto* halves = reinterpret_cast<uint16_t*>(scratch + 3 * stride);
  const RawScales raw = {halves, halves + stride};
  uint8_t copy[4 * 210] = {};  // a tile of any format
  gather_scales<Format>(data, num_blocks, raw);
  for (int64_t o = begin; o < end; ++o, data += row_bytes) {
    const int64_t rows_behind = target.out_features - 1 - o;
    const uint8_t* last = last_tile<Format>(data, num_blocks, rows_behind, copy);
    const WeightRow row = {data, last, scratch, scratch + stride};
    widen_scales<Format>(row, num_blocks, raw);
    if (o + 1 < end) {
      gather_scales<Format>(data + row_bytes, num_blocks, raw);
    }
    prefetch(data, row_bytes);
    const float bias = target.bias != nullptr ? target.bias[o] : 0.0F;
    for (int64_t r = 0; r < num_rows; ++r) {
      const float sum = dot_row<Format>(row, rows, r, product) + bias;
      float& y = target.y[r * target.y_stride + o];
      y = accumulate ? y + sum : sum;
    }
  }
}

void int8_outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
                  int64_t in_features, bool accumulate, int64_t begin, int64_t end,
                  float* scratch) {
  const auto run = [&](auto format) {
    outputs<decltype(format)>(target, rows, num_rows, in_features, accumulate, begin, end, scratch);
  };
  switch (target.weight_dtype) {
    case DType::kQ4_0:
      return run(Q4_0());
    case DType::kQ4_1:
      return run(Q4_1());
    case DType::kQ5_0:
      return run(Q5_0());
    case DType::kQ5_1:
      return run(Q5_1());
    case DType::kQ8_0:
      return run(Q8_0());
    case DType::kQ4_K:
      return run(Q4_K());
    case DType::kQ5_K:
      return run(Q5_K());
    case DType::kQ6_K:
      return run(Q6_K());
    default:
      fail(ErrorCode::kInternal, dtype_info(target.weight_dtype).name, " is not quantised");
  }
}

#endif  // HWY_TARGET

}  // namespace lychee::linear::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::linear::cpu {

HWY_EXPORT(int8_outputs);

int64_t int8_scratch_floats(int64_t in_features) {
  // Scales and minima of a row of weights, widened; products; scales and minima as they lie. Q6_K
  // has the most.
  return 4 * scale_stride(RowOrder::kHalves128, in_features);
}

void int8_outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
                  int64_t in_features, bool accumulate, int64_t begin, int64_t end,
                  float* scratch) {
  HWY_DYNAMIC_DISPATCH(int8_outputs)
  (target, rows, num_rows, in_features, accumulate, begin, end, scratch);
}

}  // namespace lychee::linear::cpu
#endif
