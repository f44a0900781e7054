// Flash-style attention of a panel of query columns over a tile of keys. Compiled once per
// instruction set.
#if defined(LYCHEE_KERNELS_ATTENTION_CPU_PREFILL_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_ATTENTION_CPU_PREFILL_PANEL_INL_H_
#undef LYCHEE_KERNELS_ATTENTION_CPU_PREFILL_PANEL_INL_H_
#else
#define LYCHEE_KERNELS_ATTENTION_CPU_PREFILL_PANEL_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <limits>

#include "kernels/attention/cpu/prefill_block.h"
#include "kernels/cpu/exp2_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

// Keys or dimensions multiplied at once; divides every head_dim. kPanelRows · kPanelVectors sums
// and their operands must fit the registers, 32 on AVX-512 and NEON, 16 elsewhere.
constexpr int kPanelRows = HWY_CAP_GE512 || HWY_TARGET == HWY_NEON ? 8 : 4;

struct Panel {
  int64_t columns;  // rows rounded up to whole vectors
  int64_t rows;
  int64_t first_row;  // of the block
  int64_t group_size;
  int head_dim;
  const float* k;  // [tile keys, head_dim]
  const float* v;  // [tile keys, head_dim]
  float* scores;   // [tile keys, columns]
  float* q;        // [head_dim, columns], times scale · log2 e
  float* acc;      // [head_dim, columns]
  float* max;      // [columns]
  float* sum;      // [columns]
};

// c[r, column] = start(r, column) + sum over i of a[r · row_stride + i · step] · b[i, column] for
// kRows rows and kVectors vectors of columns: kRows · kVectors sums stay in registers.
template <int kRows, int kVectors, class D, class Start>
HWY_INLINE void multiply_rows(D d, const float* a, int64_t row_stride, int64_t step, int64_t count,
                              const float* b, const Start& start, float* c) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t columns = kVectors * lanes;
  hn::Vec<D> sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < kVectors; ++j) {
      sums[r][j] = start(r * columns, j);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    hn::Vec<D> right[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      right[j] = hn::LoadU(d, b + i * columns + j * lanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const auto left = hn::Set(d, a[r * row_stride + i * step]);
      for (int j = 0; j < kVectors; ++j) {
        sums[r][j] = hn::MulAdd(left, right[j], sums[r][j]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(sums[r][j], d, c + r * columns + j * lanes);
    }
  }
}

// Keys after a row's own position get no weight. `first_key` counts from the block's first token.
template <class D>
HWY_INLINE void mask_future(D d, const Panel& panel, int64_t first_key, int64_t num_keys) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  HWY_ALIGN float positions[kMaxPanelColumns];
  for (int64_t c = 0; c < panel.columns; ++c) {
    positions[c] = static_cast<float>((panel.first_row + c) / panel.group_size);
  }
  for (int64_t key = 0; key < num_keys; ++key) {
    const auto position = hn::Set(d, static_cast<float>(first_key + key));
    for (int64_t c = 0; c < panel.columns; c += lanes) {
      float* score = panel.scores + key * panel.columns + c;
      const auto visible = hn::Le(position, hn::LoadU(d, positions + c));
      hn::StoreU(hn::IfThenElse(visible, hn::LoadU(d, score), nothing), d, score);
    }
  }
}

// Scores to weights in place, from the new maximum of each column; updates max and sum, and leaves
// in `rescale` [columns] what earlier sums must be multiplied by.
template <int kVectors, class D>
HWY_INLINE void weigh_scores(D d, const Panel& panel, int64_t num_keys, float* rescale) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  const int64_t columns = kVectors * lanes;
  hn::Vec<D> max[kVectors];
  hn::Vec<D> sum[kVectors];
  for (int j = 0; j < kVectors; ++j) {
    max[j] = hn::LoadU(d, panel.max + j * lanes);
  }
  for (int64_t key = 0; key < num_keys; ++key) {
    for (int j = 0; j < kVectors; ++j) {
      max[j] = hn::Max(max[j], hn::LoadU(d, panel.scores + key * columns + j * lanes));
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    const auto old = hn::LoadU(d, panel.max + j * lanes);
    hn::StoreU(max[j], d, panel.max + j * lanes);
    // -inf - -inf is NaN: a column that has seen no key yet measures from 0.
    max[j] = hn::IfThenZeroElse(hn::Eq(max[j], nothing), max[j]);
    const auto factor = lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(d, hn::Sub(old, max[j]));
    hn::StoreU(factor, d, rescale + j * lanes);
    sum[j] = hn::Mul(hn::LoadU(d, panel.sum + j * lanes), factor);
  }
  for (int64_t key = 0; key < num_keys; ++key) {
    for (int j = 0; j < kVectors; ++j) {
      float* score = panel.scores + key * columns + j * lanes;
      const auto weight =
          lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(d, hn::Sub(hn::LoadU(d, score), max[j]));
      hn::StoreU(weight, d, score);
      sum[j] = hn::Add(sum[j], weight);
    }
  }
  for (int j = 0; j < kVectors; ++j) {
    hn::StoreU(sum[j], d, panel.sum + j * lanes);
  }
}

template <int kVectors>
HWY_NOINLINE void attend_columns(const Panel& panel, int64_t first_key, int64_t num_keys) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t head_dim = panel.head_dim;
  const int64_t padded_keys = (num_keys + kPanelRows - 1) / kPanelRows * kPanelRows;
  for (int64_t key = 0; key < padded_keys; key += kPanelRows) {
    multiply_rows<kPanelRows, kVectors>(
        d, panel.k + key * head_dim, head_dim, 1, head_dim, panel.q,
        [&](int64_t, int) HWY_ATTR { return hn::Zero(d); }, panel.scores + key * panel.columns);
  }
  if (first_key + padded_keys - 1 > panel.first_row / panel.group_size) {
    mask_future(d, panel, first_key, padded_keys);
  }
  HWY_ALIGN float rescale[kMaxPanelColumns];
  weigh_scores<kVectors>(d, panel, padded_keys, rescale);
  for (int64_t dim = 0; dim < head_dim; dim += kPanelRows) {
    float* acc = panel.acc + dim * panel.columns;
    multiply_rows<kPanelRows, kVectors>(
        d, panel.v + dim, 1, head_dim, padded_keys, panel.scores,
        [&](int64_t offset, int j) HWY_ATTR {
          return hn::Mul(hn::LoadU(d, acc + offset + j * lanes), hn::LoadU(d, rescale + j * lanes));
        },
        acc);
  }
}

// One tile of keys for one panel; `first_key` counts from the block's first token.
HWY_INLINE void attend_tile(const Panel& panel, int64_t first_key, int64_t num_keys) {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hwy::HWY_NAMESPACE::Lanes(d));
  const int64_t last_position = (panel.first_row + panel.rows - 1) / panel.group_size;
  if (first_key > last_position) {
    return;
  }
  if (panel.columns == 3 * lanes) {
    attend_columns<3>(panel, first_key, num_keys);
  } else if (panel.columns == 2 * lanes) {
    attend_columns<2>(panel, first_key, num_keys);
  } else {
    attend_columns<1>(panel, first_key, num_keys);
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
