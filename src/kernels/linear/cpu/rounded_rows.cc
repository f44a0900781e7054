#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/rounded_rows.cc"
#include "kernels/linear/cpu/rounded_rows.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include "base/math.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR  // see can_round_rows

void round_row(const float* /*x*/, int64_t /*in_features*/, const RoundedRows& /*rows*/,
               int64_t /*row*/) {}

bool can_round_rows() {
  return false;
}

#else

namespace hn = hwy::HWY_NAMESPACE;

bool can_round_rows() {
  return true;
}

// Rounds one group and returns its scale.
float round_group(const float* x, int8_t* rounded) {
  const hn::CappedTag<float, kGroup> d;
  const hn::Rebind<int32_t, decltype(d)> di;
  const hn::Rebind<int8_t, decltype(d)> db;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto max = hn::Zero(d);
  auto poison = hn::Zero(d);  // NaN once a value is not finite, which a maximum may drop
  for (int64_t i = 0; i < kGroup; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    max = hn::Max(max, hn::Abs(v));
    poison = hn::MulAdd(v, hn::Zero(d), poison);
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(d, max));
  // Below this the reciprocal would overflow.
  const float inverse = largest > 1e-30F ? 127.0F / largest : 0.0F;
  const auto factor = hn::Set(d, inverse);
  for (int64_t i = 0; i < kGroup; i += lanes) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), factor));
    hn::StoreU(hn::DemoteTo(db, hn::Max(hn::Min(q, hn::Set(di, 127)), hn::Set(di, -127))), db,
               rounded + i);
  }
  const float scale = largest > 1e-30F ? largest / 127.0F : 0.0F;
  return scale + hn::GetLane(hn::SumOfLanes(d, poison));
}

// Where the 16 values of piece i of a tile go: position 0-3 of the low or (4-7) the high planes.
constexpr int kPositions[kRowOrders][8] = {{0, 1, 2, 3, 4, 5, 6, 7},
                                           {0, 4, 1, 5, 2, 6, 3, 7},
                                           {0, 1, 4, 5, 2, 3, 6, 7},
                                           {0, 1, 2, 3, 4, 5, 6, 7}};

// Splits 16 values into even and odd ones and multiplies them by what the masks leave.
void spread_piece(const int8_t* rounded, RowOrder order, int position, int16_t* tile) {
  const hn::FixedTag<int8_t, 16> db;
  const hn::FixedTag<int16_t, 8> d;
  const auto bytes = hn::BitCast(d, hn::LoadU(db, rounded));
  const auto even = hn::ShiftRight<8>(hn::ShiftLeft<8>(bytes));
  const auto odd = hn::ShiftRight<8>(bytes);
  int16_t* lane = tile + position % 4 * 8;
  if (order == RowOrder::kBytes) {
    int16_t* plane = lane + position / 4 * 64;
    hn::Store(even, d, plane);
    hn::Store(odd, d, plane + 32);
  } else if (position < 4) {
    hn::Store(hn::ShiftLeft<8>(even), d, lane);
    hn::Store(odd, d, lane + 32);
  } else {
    hn::Store(hn::ShiftLeft<4>(even), d, lane + 64);
    hn::Store(hn::ShiftLeft<8>(odd), d, lane + 96);
  }
}

float sum_of(const int8_t* rounded, int64_t count) {
  int sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += rounded[i];
  }
  return static_cast<float>(sum);
}

void round_row(const float* x, int64_t in_features, const RoundedRows& rows, int64_t row) {
  HWY_ALIGN int8_t rounded[kTile];
  const int64_t per_tile = scales_per_tile(rows.order);
  const int64_t share = kTile / per_tile;
  for (int64_t t = 0; t < rows.num_tiles; ++t) {
    int16_t* tile = rows.values + (row * rows.num_tiles + t) * kTile;
    float* scales = rows.scales + row * rows.scale_stride + t * per_tile;
    float* sums = rows.sums + row * rows.scale_stride + t * per_tile;
    for (int64_t g = 0; g < kTile / kGroup; ++g) {
      const int64_t offset = t * kTile + g * kGroup;
      float scale = 0;
      if (offset < in_features) {
        scale = round_group(x + offset, rounded + g * kGroup);
      } else {
        hn::Store(hn::Zero(hn::FixedTag<int8_t, 16>()), hn::FixedTag<int8_t, 16>(),
                  rounded + g * kGroup);
        hn::Store(hn::Zero(hn::FixedTag<int8_t, 16>()), hn::FixedTag<int8_t, 16>(),
                  rounded + g * kGroup + 16);
      }
      for (int64_t s = g * per_tile / 4; s < (g + 1) * per_tile / 4; ++s) {
        scales[s] = scale / 256;
        sums[s] = scale * sum_of(rounded + s * share, share);
      }
    }
    for (int piece = 0; piece < 8; ++piece) {
      spread_piece(rounded + piece * 16, rows.order,
                   kPositions[static_cast<int>(rows.order)][piece], tile);
    }
  }
  for (int64_t s = rows.num_tiles * per_tile; s < rows.scale_stride; ++s) {
    rows.scales[row * rows.scale_stride + s] = 0;
    rows.sums[row * rows.scale_stride + s] = 0;
  }
}

#endif  // HWY_TARGET

}  // namespace lychee::linear::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::linear::cpu {

HWY_EXPORT(round_row);
HWY_EXPORT(can_round_rows);

bool can_round_rows() {
  return HWY_DYNAMIC_DISPATCH(can_round_rows)();
}

RowOrder row_order(DType weight_dtype) {
  switch (weight_dtype) {
    case DType::kQ8_0:
      return RowOrder::kBytes;
    case DType::kQ4_K:
    case DType::kQ5_K:
      return RowOrder::kChunks64;
    case DType::kQ6_K:
      return RowOrder::kHalves128;
    default:
      return RowOrder::kBlocks32;
  }
}

int64_t scale_stride(RowOrder order, int64_t in_features) {
  return round_up<int64_t>(ceil_div(in_features, kTile) * scales_per_tile(order), 16);
}

int64_t rounded_rows_bytes(RowOrder order, int64_t num_rows, int64_t in_features) {
  const int64_t values = ceil_div(in_features, kTile) * kTile;
  return num_rows * (values * static_cast<int64_t>(sizeof(int16_t)) +
                     scale_stride(order, in_features) * 2 * static_cast<int64_t>(sizeof(float)));
}

RoundedRows rounded_rows_in(void* memory, RowOrder order, int64_t num_rows, int64_t in_features) {
  const int64_t num_tiles = ceil_div(in_features, kTile);
  const int64_t stride = scale_stride(order, in_features);
  auto* values = static_cast<int16_t*>(memory);
  auto* scales = reinterpret_cast<float*>(values + num_rows * num_tiles * kTile);
  return {order, num_tiles, stride, values, scales, scales + num_rows * stride};
}

void round_row(const float* x, int64_t in_features, const RoundedRows& rows, int64_t row) {
  HWY_DYNAMIC_DISPATCH(round_row)(x, in_features, rows, row);
}

}  // namespace lychee::linear::cpu
#endif
