#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/cpu/rope.cc"
#include "kernels/rope/rope.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <cmath>

#include "base/check.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::rope::cpu::HWY_NAMESPACE {

void rotate_head(float* x, const float* cosines, const float* sines, int half) {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  const auto lanes = static_cast<int>(hwy::HWY_NAMESPACE::Lanes(d));
  int i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto a = LoadU(d, x + i);
    const auto b = LoadU(d, x + i + half);
    const auto cosine = LoadU(d, cosines + i);
    const auto sine = LoadU(d, sines + i);
    StoreU(NegMulAdd(b, sine, Mul(a, cosine)), d, x + i);
    StoreU(MulAdd(a, sine, Mul(b, cosine)), d, x + i + half);
  }
  for (; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    x[i] = a * cosines[i] - b * sines[i];
    x[i + half] = b * cosines[i] + a * sines[i];
  }
}

void rotate_row(const RopeApplyParams& p, int64_t row) {
  const float* cosines = p.table + row * p.head_dim;
  for (int h = 0; h < p.num_heads; ++h) {
    rotate_head(p.x + row * p.row_stride + int64_t{h} * p.head_dim, cosines,
                cosines + p.head_dim / 2, p.head_dim / 2);
  }
}

}  // namespace lychee::rope::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::rope::cpu {

HWY_EXPORT(rotate_row);

constexpr int64_t kParallelRows = 16;  // fewer cost less than waking the threads
constexpr int kMaxHeadDim = 1024;

namespace {

void fill_row(const RopeTableParams& p, int64_t r, float* row) {
  const int half = p.head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double angle = static_cast<double>(p.positions[r]) * static_cast<double>(p.inv_freq[i]);
    const auto factor = static_cast<double>(p.attention_factor);
    row[i] = static_cast<float>(std::cos(angle) * factor);
    row[i + half] = static_cast<float>(std::sin(angle) * factor);
  }
}

}  // namespace

void rope(const RopeParams& p) {
  require(p.head_dim <= kMaxHeadDim, ErrorCode::kUnsupported, "rope: head_dim ", p.head_dim,
          " exceeds ", kMaxHeadDim);
  const auto rotate = HWY_DYNAMIC_DISPATCH(rotate_row);
#pragma omp parallel for schedule(static) if (p.num_rows > kParallelRows)
  for (int64_t r = 0; r < p.num_rows; ++r) {
    float row[kMaxHeadDim];
    fill_row({1, p.head_dim, p.positions, p.inv_freq, p.attention_factor, row}, r, row);
    rotate({1, p.num_heads, p.head_dim, p.x + r * p.row_stride, p.row_stride, row}, 0);
  }
}

void make_rope_table(const RopeTableParams& params) {
#pragma omp parallel for schedule(static) if (params.num_rows > kParallelRows)
  for (int64_t r = 0; r < params.num_rows; ++r) {
    fill_row(params, r, params.table + r * params.head_dim);
  }
}

void apply_rope_table(const RopeApplyParams& params) {
  const auto rotate = HWY_DYNAMIC_DISPATCH(rotate_row);
#pragma omp parallel for schedule(static) if (params.num_rows > kParallelRows)
  for (int64_t r = 0; r < params.num_rows; ++r) {
    rotate(params, r);
  }
}

}  // namespace lychee::rope::cpu
#endif
