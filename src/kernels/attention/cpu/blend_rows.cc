#include "kernels/attention/cpu/blend_rows.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/blend_rows.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

#include "kernels/cpu/exp2_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kLog2E = 1.44269504F;

// Calls `vector(d, i)` for whole vectors of [0, count), then `vector(one lane, i)` for the rest.
template <class Fn>
HWY_INLINE void for_each(int64_t count, const Fn& vector) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    vector(d, i);
  }
  for (; i < count; ++i) {
    vector(hn::CappedTag<float, 1>(), i);
  }
}

void softmax_row_target(const SoftmaxRow& row) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float scale = row.scale * kLog2E;
  auto max = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto sum = hn::Zero(d);
  float rest_max = -std::numeric_limits<float>::infinity();
  const int64_t whole = row.n / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes) {
    auto score = hn::LoadU(d, row.scores + i);
    score = row.bias == nullptr ? score : hn::Add(score, hn::LoadU(d, row.bias + i));
    max = hn::Max(max, score);
  }
  for (int64_t i = whole; i < row.n; ++i) {
    rest_max = std::max(rest_max, row.scores[i] + (row.bias == nullptr ? 0.0F : row.bias[i]));
  }
  const float top = std::max(rest_max, hn::GetLane(hn::MaxOfLanes(d, max)));
  float rest_sum = 0;
  for_each(row.n, [&](auto tag, int64_t i) {
    auto score = hn::LoadU(tag, row.scores + i);
    score = row.bias == nullptr ? score : hn::Add(score, hn::LoadU(tag, row.bias + i));
    const auto power = hn::Mul(hn::Sub(score, hn::Set(tag, top)), hn::Set(tag, scale));
    const auto weight = lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(tag, power);
    hn::StoreU(weight, tag, row.weights + i);
    if (i < whole) {
      sum = hn::Add(sum, hn::LoadU(d, row.weights + i));
    } else {
      rest_sum += row.weights[i];
    }
  });
  const float factor = 1 / (rest_sum + hn::GetLane(hn::SumOfLanes(d, sum)));
  for_each(row.n, [&](auto tag, int64_t i) {
    hn::StoreU(hn::Mul(hn::LoadU(tag, row.weights + i), hn::Set(tag, factor)), tag,
               row.weights + i);
  });
  std::fill(row.weights + row.n, row.weights + row.padded, 0.0F);
}

void blend_row_target(float z, int64_t count, const float* sparse, float* dense) {
  for_each(count, [&](auto tag, int64_t i) {
    const auto part = hn::Mul(hn::Set(tag, 1 - z), hn::LoadU(tag, sparse + i));
    hn::StoreU(hn::MulAdd(hn::Set(tag, z), hn::LoadU(tag, dense + i), part), tag, dense + i);
  });
}

float dot(const float* a, const float* b, int64_t count) {
  const hn::ScalableTag<float> d;
  auto sum = hn::Zero(d);
  float rest = 0;
  for_each(count, [&]([[maybe_unused]] auto tag, int64_t i) {
    if constexpr (std::is_same_v<decltype(tag), hn::ScalableTag<float>>) {
      sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
    } else {
      rest += a[i] * b[i];
    }
  });
  return rest + hn::GetLane(hn::SumOfLanes(d, sum));
}

double blend_row_backward_target(const BlendRowBackward& row) {
  const float dense_mean = dot(row.dense, row.d_weights, row.count);
  const float sparse_mean =
      row.sparse == nullptr ? 0.0F : dot(row.sparse, row.d_weights, row.count);
  for_each(row.count, [&](auto tag, int64_t i) {
    const auto gradient = hn::LoadU(tag, row.d_weights + i);
    auto weight = hn::Mul(hn::Set(tag, row.z), hn::LoadU(tag, row.dense + i));
    auto slope = hn::Mul(weight, hn::Sub(gradient, hn::Set(tag, dense_mean)));
    if (row.sparse != nullptr) {
      const auto part = hn::Mul(hn::Set(tag, 1 - row.z), hn::LoadU(tag, row.sparse + i));
      weight = hn::Add(weight, part);
      slope = hn::MulAdd(part, hn::Sub(gradient, hn::Set(tag, sparse_mean)), slope);
    }
    hn::StoreU(weight, tag, row.dense + i);
    hn::StoreU(hn::Mul(hn::Set(tag, row.scale), slope), tag, row.d_weights + i);
  });
  return row.sparse == nullptr ? 0.0 : double{dense_mean} - double{sparse_mean};
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(softmax_row_target);
HWY_EXPORT(blend_row_target);
HWY_EXPORT(blend_row_backward_target);

void softmax_row(const SoftmaxRow& row) {
  HWY_DYNAMIC_DISPATCH(softmax_row_target)(row);
}

void blend_row(float z, int64_t count, const float* sparse, float* dense) {
  HWY_DYNAMIC_DISPATCH(blend_row_target)(z, count, sparse, dense);
}

double blend_row_backward(const BlendRowBackward& row) {
  return HWY_DYNAMIC_DISPATCH(blend_row_backward_target)(row);
}

}  // namespace lychee::attention::cpu
#endif
