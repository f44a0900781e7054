#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/int8_dot.cc"
#include "kernels/linear/cpu/int8_dot.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

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

// One row of weights: `scales` and `mins` in the order of RoundedRows::scales.
struct WeightRow {
  const uint8_t* data;
  float* scales;  // [scale_stride], zero beyond in_features
  float* mins;    // added to every weight that a scale belongs to
};

void widen_halves(const uint16_t* halves, int64_t count, float* out) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> dh;
  const hn::Rebind<uint16_t, decltype(d)> du;
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::StoreU(hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(du, halves + i))), d, out + i);
  }
}

float read_half(const uint8_t* src) {
  uint16_t padded[16] = {};
  float out[16];
  std::memcpy(padded, src, sizeof(uint16_t));
  widen_halves(padded, 1, out);
  return out[0];
}

// Gathers the scales of the blocks with plain moves, which leave the vector units alone, and widens
// them together.
template <typename Format>
void read_scales(const WeightRow& row, int64_t num_blocks) {
  constexpr int64_t kChunk = 64;
  HWY_ALIGN uint16_t scales[kChunk];
  HWY_ALIGN uint16_t mins[kChunk];
  const int64_t padded = round_up<int64_t>(num_blocks, 16);
  for (int64_t begin = 0; begin < num_blocks; begin += kChunk) {
    const int64_t count = HWY_MIN(kChunk, num_blocks - begin);
    const uint8_t* block = row.data + begin * Format::kBlockBytes;
    for (int64_t i = 0; i < count; ++i, block += Format::kBlockBytes) {
      std::memcpy(&scales[i], block, sizeof(uint16_t));
      if constexpr (Format::kMin != 0) {
        std::memcpy(&mins[i], block + Format::kMin, sizeof(uint16_t));
      }
    }
    const int64_t end = HWY_MIN(kChunk, padded - begin);
    for (int64_t i = count; i < end; ++i) {
      scales[i] = mins[i] = 0;
    }
    widen_halves(scales, end, row.scales + begin);
    if constexpr (Format::kMin != 0) {
      widen_halves(mins, end, row.mins + begin);
    }
  }
  if constexpr (Format::kOffset != 0) {
    for (int64_t i = 0; i < padded; ++i) {
      row.mins[i] = row.scales[i] * -Format::kOffset;
    }
  }
}

// Eight 6-bit scales and minima in 12 bytes: bytes 0-3 and 4-7 hold the first four and, on top, the
// upper two bits of the others, whose lower four bits are in bytes 8-11.
void read_chunk_scales(const WeightRow& row, int64_t num_blocks, int64_t block_bytes) {
  for (int64_t b = 0; b < num_blocks; ++b) {
    const uint8_t* block = row.data + b * block_bytes;
    uint32_t words[3];
    std::memcpy(words, block + 4, sizeof(words));
    const uint32_t unpacked[4] = {
        words[0] & 0x3f3f3f3f, (words[2] & 0x0f0f0f0f) | (words[0] >> 2 & 0x30303030),
        words[1] & 0x3f3f3f3f, (words[2] >> 4 & 0x0f0f0f0f) | (words[1] >> 2 & 0x30303030)};
    uint8_t bytes[16];
    std::memcpy(bytes, unpacked, sizeof(bytes));
    const float scale = read_half(block);
    const float min = -read_half(block + 2);
    for (int64_t j = 0; j < 8; ++j) {
      row.scales[b * 8 + j] = scale * static_cast<float>(bytes[j]);
      row.mins[b * 8 + j] = min * static_cast<float>(bytes[8 + j]);
    }
  }
}

template <>
void read_scales<Q4_K>(const WeightRow& row, int64_t num_blocks) {
  read_chunk_scales(row, num_blocks, Q4_K::kBlockBytes);
}

template <>
void read_scales<Q5_K>(const WeightRow& row, int64_t num_blocks) {
  read_chunk_scales(row, num_blocks, Q5_K::kBlockBytes);
}

template <>
void read_scales<Q6_K>(const WeightRow& row, int64_t num_blocks) {
  for (int64_t b = 0; b < num_blocks; ++b) {
    const uint8_t* block = row.data + b * Q6_K::kBlockBytes;
    const float scale = read_half(block + 208);
    for (int64_t j = 0; j < 16; ++j) {
      const float sub_scale = scale * static_cast<float>(static_cast<int8_t>(block[192 + j]));
      row.scales[b * 16 + j] = sub_scale;
      row.mins[b * 16 + j] = -32 * sub_scale;
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

// product = the scales of weights times those of x; returns what the minima contribute.
HWY_INLINE float multiply_scales(const WeightRow& row, const RoundedRows& rows, int64_t r,
                                 bool has_mins, float* product) {
  const hn::CappedTag<float, 16> d;
  const float* scales = rows.scales + r * rows.scale_stride;
  const float* sums = rows.sums + r * rows.scale_stride;
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < rows.scale_stride; i += static_cast<int64_t>(hn::Lanes(d))) {
    hn::Store(hn::Mul(hn::Load(d, row.scales + i), hn::Load(d, scales + i)), d, product + i);
    if (has_mins) {
      sum = hn::MulAdd(hn::Load(d, row.mins + i), hn::Load(d, sums + i), sum);
    }
  }
  return has_mins ? hn::GetLane(hn::SumOfLanes(d, sum)) : 0.0F;
}

template <typename Format>
constexpr bool has_mins() {
  if constexpr (Format::kBlockSize == 256) {
    return true;
  } else {
    return Format::kMin != 0 || Format::kOffset != 0;
  }
}

// The blocks of the last, partial tile with zeros behind them; null when tiles are whole.
template <typename Format>
const uint8_t* copy_tail(const uint8_t* row, int64_t num_blocks, uint8_t* tail) {
  constexpr int64_t kPerTile = kTile / Format::kBlockSize;
  if constexpr (kPerTile > 1) {
    const int64_t rest = num_blocks % kPerTile;
    if (rest != 0) {
      std::memcpy(tail, row + (num_blocks - rest) * Format::kBlockBytes,
                  static_cast<size_t>(rest * Format::kBlockBytes));
      return tail;
    }
  }
  return nullptr;
}

template <typename Format>
float dot_row(const WeightRow& row, const uint8_t* tail, const RoundedRows& rows, int64_t r,
              float* product) {
  const Floats d;
  const int16_t* x = rows.values + r * rows.num_tiles * kTile;
  const float mins = multiply_scales(row, rows, r, has_mins<Format>(), product);
  const int64_t per_tile = scales_per_tile(Format::kOrder);
  Accumulators acc = {hn::Zero(d), hn::Zero(d)};
  const int64_t whole = rows.num_tiles - (tail != nullptr ? 1 : 0);
  if constexpr (Format::kBlockSize == 256) {
    for (int64_t b = 0; b < whole / 2; ++b) {
      const uint8_t* block = row.data + b * Format::kBlockBytes;
      dot_tile<Format>(block, 0, x + b * 2 * kTile, product + b * 2 * per_tile, acc);
      dot_tile<Format>(block, 1, x + (b * 2 + 1) * kTile, product + (b * 2 + 1) * per_tile, acc);
    }
  } else {
    for (int64_t t = 0; t < whole; ++t) {
      dot_tile<Format>(row.data + t * 4 * Format::kBlockBytes, 0, x + t * kTile,
                       product + t * per_tile, acc);
    }
    if (tail != nullptr) {
      dot_tile<Format>(tail, 0, x + whole * kTile, product + whole * per_tile, acc);
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(acc.low, acc.high))) + mins;
}

template <typename Format>
void outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
             int64_t in_features, bool accumulate, int64_t begin, int64_t end, float* scratch) {
  const int64_t num_blocks = in_features / Format::kBlockSize;
  const auto* data = reinterpret_cast<const uint8_t*>(target.weight);
  float* product = scratch + 2 * rows.scale_stride;
  for (int64_t i = 0; i < 2 * rows.scale_stride; ++i) {
    scratch[i] = 0;  // what lies beyond the last block stays so
  }
  uint8_t memory[4 * 34] = {};
  for (int64_t o = begin; o < end; ++o) {
    const WeightRow row = {data + o * num_blocks * Format::kBlockBytes, scratch,
                           scratch + rows.scale_stride};
    read_scales<Format>(row, num_blocks);
    const uint8_t* tail = copy_tail<Format>(row.data, num_blocks, memory);
    const float bias = target.bias != nullptr ? target.bias[o] : 0.0F;
    for (int64_t r = 0; r < num_rows; ++r) {
      const float sum = dot_row<Format>(row, tail, rows, r, product) + bias;
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
  // Weight scales, minima and products; K-quants of 16 have the most.
  return 3 * scale_stride(RowOrder::kHalves128, in_features);
}

void int8_outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
                  int64_t in_features, bool accumulate, int64_t begin, int64_t end,
                  float* scratch) {
  HWY_DYNAMIC_DISPATCH(int8_outputs)
  (target, rows, num_rows, in_features, accumulate, begin, end, scratch);
}

}  // namespace lychee::linear::cpu
#endif
