#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/cpu/float_dot.cc"
#include "kernels/linear/cpu/float_dot.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace lychee::linear::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// File data may be unaligned, so it is loaded as bytes.
struct LoadF32 {
  static constexpr int64_t kBytes = 4;
  static HWY_INLINE V load(const uint8_t* src) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(D(), one(src));
#else
    return hn::BitCast(D(), hn::LoadU(hn::Repartition<uint8_t, D>(), src));
#endif
  }
  static float one(const uint8_t* src) {
    float value;
    std::memcpy(&value, src, sizeof(value));
    return value;
  }
};

template <typename Storage, typename Half>
struct LoadHalf {
  static constexpr int64_t kBytes = 2;
  static HWY_INLINE V load(const uint8_t* src) {
#if HWY_TARGET == HWY_SCALAR
    return hn::Set(D(), one(src));
#else
    const hn::Rebind<Half, D> dh;
    const hn::Repartition<uint8_t, decltype(dh)> db;
    return hn::PromoteTo(D(), hn::BitCast(dh, hn::LoadU(db, src)));
#endif
  }
  static float one(const uint8_t* src) {
    Storage value;
    std::memcpy(&value.bits, src, sizeof(value.bits));
    return static_cast<float>(value);
  }
};

using LoadF16 = LoadHalf<f16, hwy::float16_t>;
using LoadBF16 = LoadHalf<bf16, hwy::bfloat16_t>;

template <typename Load>
float dot(const uint8_t* w, const float* x, int64_t count) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V sum0 = hn::Zero(d);
  V sum1 = sum0;
  V sum2 = sum0;
  V sum3 = sum0;
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const uint8_t* src = w + i * Load::kBytes;
    const int64_t step = lanes * Load::kBytes;
    sum0 = hn::MulAdd(Load::load(src), hn::LoadU(d, x + i), sum0);
    sum1 = hn::MulAdd(Load::load(src + step), hn::LoadU(d, x + i + lanes), sum1);
    sum2 = hn::MulAdd(Load::load(src + 2 * step), hn::LoadU(d, x + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(Load::load(src + 3 * step), hn::LoadU(d, x + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= count; i += lanes) {
    sum0 = hn::MulAdd(Load::load(w + i * Load::kBytes), hn::LoadU(d, x + i), sum0);
  }
  float rest = 0;
  for (; i < count; ++i) {
    rest += Load::one(w + i * Load::kBytes) * x[i];
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)))) + rest;
}

void float_outputs(const LinearGroupParams& p, const LinearTarget& target, int64_t begin,
                   int64_t end, float* scratch) {
  const int64_t row_bytes = dtype_bytes(target.weight_dtype, p.in_features);
  for (int64_t o = begin; o < end; ++o) {
    const std::byte* weight = target.weight + o * row_bytes;
    const auto* row = reinterpret_cast<const uint8_t*>(weight);
    auto* dot_row = &dot<LoadF32>;
    if (target.weight_dtype == DType::kF16) {
      dot_row = &dot<LoadF16>;
    } else if (target.weight_dtype == DType::kBF16) {
      dot_row = &dot<LoadBF16>;
    } else if (target.weight_dtype != DType::kF32) {
      dequantize(target.weight_dtype, weight, p.in_features, scratch);
      row = reinterpret_cast<const uint8_t*>(scratch);
    }
    const float bias = target.bias != nullptr ? target.bias[o] : 0.0F;
    for (int64_t r = 0; r < p.num_rows; ++r) {
      const float sum = dot_row(row, p.x + r * p.x_stride, p.in_features) + bias;
      float& y = target.y[r * target.y_stride + o];
      y = p.accumulate ? y + sum : sum;
    }
  }
}

}  // namespace lychee::linear::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::linear::cpu {

HWY_EXPORT(float_outputs);

void float_outputs(const LinearGroupParams& params, const LinearTarget& target, int64_t begin,
                   int64_t end, float* scratch) {
  HWY_DYNAMIC_DISPATCH(float_outputs)(params, target, begin, end, scratch);
}

}  // namespace lychee::linear::cpu
#endif
