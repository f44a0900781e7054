#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/int8_dot.cc"
#include "kernels/linear/cpu/int8_dot.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/math.h"
#include "kernels/cpu/sum_inl.h"
#include "kernels/linear/cpu/int8_formats-inl.h"
#include "kernels/linear/cpu/int8_scales-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR  // see can_round_rows

void int8_outputs(const LinearTarget& /*target*/, const RoundedRows& /*rows*/, int64_t /*num_rows*/,
                  int64_t /*in_features*/, bool /*accumulate*/, int64_t /*begin*/, int64_t /*end*/,
                  float* /*scratch*/) {}

#else

namespace kernels = lychee::cpu::HWY_NAMESPACE;

struct WeightRow {
  const uint8_t* data;
  const uint8_t* last;  // the last tile of formats of 32, perhaps a copy with zeros behind
  RowScales scales;
};

// Where the products of the scales of a tile begin, from piece `first` of its planes on.
template <typename Format>
constexpr int64_t scales_offset(int64_t tile, int first) {
  switch (Format::kOrder) {
    case RowOrder::kBlocks32:
      return tile * 8 + first * 2;
    case RowOrder::kChunks64:
      return tile / 2 * 16 + tile % 2 * 4 + first / 2 * 2;
    case RowOrder::kHalves128:
      return tile * 16 + first;
  }
}

// Which of them belongs to each lane of the low sums; those of the high sums lie kHighScales
// behind.
alignas(64) constexpr int32_t kLowScales[kRowOrders][16] = {
    {0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6},
    {0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2},
    {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3}};
constexpr int64_t kHighScales[kRowOrders] = {0, 1, 4};

HWY_INLINE hn::Vec<Floats> spread_scales(const float* scales, RowOrder order) {
  const Floats d;
  const auto lanes = hn::SetTableIndices(d, kLowScales[static_cast<int>(order)]);
  return hn::TableLookupLanes(hn::LoadU(d, scales), lanes);
}

template <typename Format>
HWY_INLINE kernels::QuadSumVec dot_plane(kernels::QuadSumVec sums, ByteVec plane, const int8_t* x) {
  const kernels::SignedBytes d;
  const auto values = hn::Load(d, x);
  if constexpr (Format::kSigned) {
    return kernels::dot_quads_signed(sums, hn::BitCast(d, plane), values);
  } else {
    return kernels::dot_quads(sums, plane, values);
  }
}

// sum + the products of planes of one tile of weights, from piece `first` on, with one of x.
template <typename Format>
HWY_INLINE hn::Vec<Floats> dot_planes(const Planes& w, int first, const int8_t* x,
                                      const float* scales, hn::Vec<Floats> sum) {
  const Floats d;
  const auto zero = hn::Zero(kernels::QuadSums());
  const auto low = dot_plane<Format>(zero, w.low, x + first * 16);
  const auto low_scales = spread_scales(scales, Format::kOrder);
  if constexpr (Format::kOneScale) {
    const auto both = dot_plane<Format>(low, w.high, x + kPlane + first * 16);
    return hn::MulAdd(hn::ConvertTo(d, both), low_scales, sum);
  } else {
    const auto high = dot_plane<Format>(zero, w.high, x + kPlane + first * 16);
    const auto high_scales =
        spread_scales(scales + kHighScales[static_cast<int>(Format::kOrder)], Format::kOrder);
    sum = hn::MulAdd(hn::ConvertTo(d, low), low_scales, sum);
    return hn::MulAdd(hn::ConvertTo(d, high), high_scales, sum);
  }
}

// Some way ahead, to the second-level cache: the processor's own prefetching stops at every page of
// 4 KB, and lines on their way to the first level are few. Tile by tile, because a burst would hold
// up the loads behind it.
HWY_INLINE void prefetch(const uint8_t* tile, int64_t bytes) {
  constexpr int64_t kAhead = 4096;
  constexpr int64_t kLine = 64;
  constexpr int kSecondLevel = 2;
  for (int64_t i = 0; i < bytes; i += kLine) {
    __builtin_prefetch(tile + kAhead + i, 0, kSecondLevel);
  }
}

// to[o · kRows + r] = weights[o] · row r of x, kSums of them.
template <typename Format, int kOutputs, int kRows>
HWY_INLINE void dot_rows(const WeightRow* weights, const RoundedRows& rows, int64_t first_row,
                         float* products, float* to) {
  static_assert(kOutputs * kRows == kSums);
  constexpr int64_t kTileBytes = Format::kBlockBytes * kTile / Format::kBlockSize;
  const int64_t x_stride = rows.num_tiles * kTile;
  const int8_t* x = rows.values + first_row * x_stride;
  hn::Vec<Floats> sums[kSums];
  for (int i = 0; i < kSums; ++i) {
    sums[i] = multiply_scales<Format>(weights[i / kRows].scales,
                                      rows.scales + (first_row + i % kRows) * rows.scale_stride,
                                      rows.scale_stride, products + i * rows.scale_stride);
  }
  const auto dot_tile = [&](int64_t t, int half, auto&& tile_of) HWY_ATTR {
    for (int o = 0; o < kOutputs; ++o) {
      const uint8_t* tile = tile_of(weights[o]);
      prefetch(tile, kTileBytes);
      for (int first = 0; first < 4; first += kPieces) {
        const Planes planes = Format::planes(tile, half, first);
        for (int r = 0; r < kRows; ++r) {
          const int i = o * kRows + r;
          const float* scales = products + i * rows.scale_stride + scales_offset<Format>(t, first);
          sums[i] =
              dot_planes<Format>(planes, first, x + r * x_stride + t * kTile, scales, sums[i]);
        }
      }
    }
  };
  if constexpr (Format::kBlockSize == 256) {
    for (int64_t t = 0; t < rows.num_tiles; t += 2) {
      const auto tile_of = [t](const WeightRow& w) { return w.data + t / 2 * Format::kBlockBytes; };
      dot_tile(t, 0, tile_of);
      dot_tile(t + 1, 1, tile_of);
    }
  } else {
    const int64_t last = rows.num_tiles - 1;
    for (int64_t t = 0; t < last; ++t) {
      dot_tile(t, 0, [t](const WeightRow& w) { return w.data + t * 4 * Format::kBlockBytes; });
    }
    dot_tile(last, 0, [](const WeightRow& w) { return w.last; });
  }
  kernels::store_four_sums(Floats(), sums[0], sums[1], sums[2], sums[3], to);
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
class Outputs {
 public:
  Outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
          int64_t in_features, bool accumulate, float* scratch)
      : target_(target),
        rows_(rows),
        num_rows_(num_rows),
        num_blocks_(in_features / Format::kBlockSize),
        row_bytes_(num_blocks_ * Format::kBlockBytes),
        accumulate_(accumulate) {
    const int64_t stride = rows.scale_stride;
    std::fill_n(scratch, 3 * kSums * stride, 0.0F);  // what lies beyond the last block stays so
    for (WeightRow& weight : weights_) {
      weight.scales = {reinterpret_cast<uint16_t*>(scratch + stride), scratch};
      scratch += 2 * stride;
    }
    products_ = scratch;
  }

  // The rows of a group lie a quarter of the range apart, so that the processor sees four streams
  // and prefetches four times as far ahead as in one.
  void run(int64_t begin, int64_t end) {
    begin_ = begin;
    end_ = end;
    quarter_ = ceil_div<int64_t>(end - begin, kSums);
    gather(0);
    for (int64_t i = 0; i < quarter_; ++i) {
      find_rows(i);
      if (i + 1 < quarter_) {
        gather(i + 1);
      }
      run_group(i);
    }
  }

 private:
  [[nodiscard]] const uint8_t* row(int64_t o) const {
    return reinterpret_cast<const uint8_t*>(target_.weight) + o * row_bytes_;
  }

  // Output k of group i; past the end the last one is repeated, and its sums are dropped.
  [[nodiscard]] int64_t output(int64_t i, int k) const {
    return std::min(begin_ + k * quarter_ + i, end_ - 1);
  }

  void gather(int64_t i) {
    for (int k = 0; k < kSums; ++k) {
      gather_scales<Format>(row(output(i, k)), num_blocks_, weights_[k].scales);
    }
  }

  void find_rows(int64_t i) {
    for (int k = 0; k < kSums; ++k) {
      const int64_t o = output(i, k);
      WeightRow& weight = weights_[k];
      weight.data = row(o);
      weight.last =
          last_tile<Format>(weight.data, num_blocks_, target_.out_features - 1 - o, copies_[k]);
      widen_scales<Format>(weight.data, num_blocks_, weight.scales);
    }
  }

  void run_group(int64_t i) {
    float sums[kSums];
    int64_t r = 0;
    for (; r + kSums <= num_rows_; r += kSums) {
      for (int k = 0; k < kSums; ++k) {
        dot_rows<Format, 1, kSums>(weights_ + k, rows_, r, products_, sums);
        for (int j = 0; j < kSums; ++j) {
          store(r + j, i, k, sums[j]);
        }
      }
    }
    for (; r < num_rows_; ++r) {
      dot_rows<Format, kSums, 1>(weights_, rows_, r, products_, sums);
      for (int k = 0; k < kSums; ++k) {
        store(r, i, k, sums[k]);
      }
    }
  }

  void store(int64_t r, int64_t i, int k, float sum) {
    const int64_t o = begin_ + k * quarter_ + i;
    if (o >= end_) {
      return;
    }
    sum += target_.bias != nullptr ? target_.bias[o] : 0.0F;
    float& y = target_.y[r * target_.y_stride + o];
    y = accumulate_ ? y + sum : sum;
  }

  const LinearTarget& target_;
  const RoundedRows& rows_;
  int64_t num_rows_;
  int64_t num_blocks_;
  int64_t row_bytes_;
  bool accumulate_;
  WeightRow weights_[kSums];
  uint8_t copies_[kSums][4 * 34] = {};  // a tile of any format that may need one
  float* products_;                     // [kSums, scale_stride]
  int64_t begin_ = 0;
  int64_t end_ = 0;
  int64_t quarter_ = 0;
};

void int8_outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
                  int64_t in_features, bool accumulate, int64_t begin, int64_t end,
                  float* scratch) {
  const auto run = [&](auto format) {
    Outputs<decltype(format)>(target, rows, num_rows, in_features, accumulate, scratch)
        .run(begin, end);
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
  // Of each of kSums rows of weights: scales as they lie and widened, products; behind these as
  // much as a load may go beyond them. Q6_K has the most.
  return 3 * kSums * scale_stride(RowOrder::kHalves128, in_features) + 16;
}

void int8_outputs(const LinearTarget& target, const RoundedRows& rows, int64_t num_rows,
                  int64_t in_features, bool accumulate, int64_t begin, int64_t end,
                  float* scratch) {
  HWY_DYNAMIC_DISPATCH(int8_outputs)
  (target, rows, num_rows, in_features, accumulate, begin, end, scratch);
}

}  // namespace lychee::linear::cpu
#endif
