#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/rounded_rows.cc"
#include "kernels/linear/cpu/rounded_rows.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

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

using Values = hn::CappedTag<float, 16>;
constexpr int64_t kPiece = 16;  // values that stay together in every order

// What scales a group; NaN when a value is not finite, which a maximum may drop.
float find_scale(const float* x) {
  const Values d;
  auto max = hn::Zero(d);
  auto poison = hn::Zero(d);
  for (int64_t i = 0; i < kGroup; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto v = hn::LoadU(d, x + i);
    max = hn::Max(max, hn::Abs(v));
    poison = hn::MulAdd(v, hn::Zero(d), poison);
  }
  const float largest = hn::GetLane(hn::MaxOfLanes(d, max));
  // Below this the reciprocal would overflow.
  const float scale = largest > 1e-30F ? largest / 127.0F : 0.0F;
  return scale + hn::GetLane(hn::SumOfLanes(d, poison));
}

// Rounds a piece and returns the sum of the rounded values.
int32_t round_piece(const float* x, float scale, int8_t* rounded) {
  const Values d;
  const hn::Rebind<int32_t, Values> di;
  const hn::Rebind<int8_t, Values> db;
  const auto factor = hn::Set(d, scale > 0 ? 1 / scale : 0.0F);
  auto sum = hn::Zero(di);
  for (int64_t i = 0; i < kPiece; i += static_cast<int64_t>(hn::Lanes(d))) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), factor));
    const auto v = hn::Max(hn::Min(q, hn::Set(di, 127)), hn::Set(di, -127));
    hn::StoreU(hn::DemoteTo(db, v), db, rounded + i);
    sum = hn::Add(sum, v);
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

// Where piece i of a tile goes: 0-3 in the low plane, 4-7 in the high one.
constexpr int kPositions[kRowOrders][8] = {
    {0, 4, 1, 5, 2, 6, 3, 7}, {0, 1, 4, 5, 2, 3, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7}};

// Writes scale `index` of a row and the sum that goes with it.
void store_scale(RowOrder order, int64_t index, float scale, int32_t sum, float* scales) {
  const int64_t group = scale_group(order);
  float* at = scales + index / group * 2 * group + index % group;
  at[0] = scale;
  at[group] = scale * static_cast<float>(sum);
}

void round_row(const float* x, int64_t in_features, const RoundedRows& rows, int64_t row) {
  constexpr int64_t kPiecesPerGroup = kGroup / kPiece;
  const int* positions = kPositions[static_cast<int>(rows.order)];
  const bool scale_each_piece = scales_per_tile(rows.order) * kPiece == kTile;
  int8_t* values = rows.values + row * rows.num_tiles * kTile;
  float* scales = rows.scales + row * rows.scale_stride;
  std::fill_n(scales, rows.scale_stride, 0.0F);
  for (int64_t g = 0; g < rows.num_tiles * kTile / kGroup; ++g) {
    const bool inside = g * kGroup < in_features;
    const float scale = inside ? find_scale(x + g * kGroup) : 0.0F;
    int32_t sums[kPiecesPerGroup] = {};
    for (int64_t i = 0; i < kPiecesPerGroup; ++i) {
      const int64_t piece = g * kPiecesPerGroup + i;
      int8_t* rounded = values + piece / 8 * kTile + positions[piece % 8] * kPiece;
      if (inside) {
        sums[i] = round_piece(x + piece * kPiece, scale, rounded);
      } else {
        std::memset(rounded, 0, kPiece);
      }
    }
    if (scale_each_piece) {
      store_scale(rows.order, 2 * g, scale, sums[0], scales);
      store_scale(rows.order, 2 * g + 1, scale, sums[1], scales);
    } else {
      store_scale(rows.order, g, scale, sums[0] + sums[1], scales);
    }
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
  return round_up<int64_t>(2 * ceil_div(in_features, kTile) * scales_per_tile(order), 16);
}

int64_t rounded_rows_bytes(RowOrder order, int64_t num_rows, int64_t in_features) {
  const int64_t values = ceil_div(in_features, kTile) * kTile;
  return num_rows *
         (values + scale_stride(order, in_features) * static_cast<int64_t>(sizeof(float)));
}

RoundedRows rounded_rows_in(void* memory, RowOrder order, int64_t num_rows, int64_t in_features) {
  const int64_t num_tiles = ceil_div(in_features, kTile);
  auto* values = static_cast<int8_t*>(memory);
  auto* scales = reinterpret_cast<float*>(values + num_rows * num_tiles * kTile);
  return {order, num_tiles, scale_stride(order, in_features), values, scales};
}

void round_row(const float* x, int64_t in_features, const RoundedRows& rows, int64_t row) {
  HWY_DYNAMIC_DISPATCH(round_row)(x, in_features, rows, row);
}

}  // namespace lychee::linear::cpu
#endif
