#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_exp2_test.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

#include "kernels/cpu/exp2_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::HWY_NAMESPACE {

// values[i] = 2^values[i]; `count` is a multiple of 16.
void exp2_all(float* values, size_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::CappedTag<float, 16> d;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    hn::StoreU(lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(d, hn::LoadU(d, values + i)), d,
               values + i);
  }
}

}  // namespace lychee::attention::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention {
namespace {

HWY_EXPORT(exp2_all);

TEST(Exp2, StaysWithinItsErrorBound) {
  for (const int64_t target : test::simd_targets()) {
    const test::SimdTargetScope scope(target);
    std::vector<float> inputs(1 << 18);
    for (size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = -126.0F * static_cast<float>(i) / static_cast<float>(inputs.size());
    }
    std::vector<float> actual = inputs;
    HWY_DYNAMIC_DISPATCH(exp2_all)(actual.data(), actual.size());
    double worst = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const double expected = std::exp2(double{inputs[i]});
      worst = std::max(worst, std::fabs(double{actual[i]} / expected - 1));
    }
    EXPECT_LT(worst, 2e-7) << test::simd_target_name(target);
  }
}

TEST(Exp2, HandlesTheEnds) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const int64_t target : test::simd_targets()) {
    const test::SimdTargetScope scope(target);
    std::vector<float> values(16, 0.0F);
    values[1] = -0.0F;
    values[2] = -1;
    values[3] = -126;
    values[4] = -126.5F;
    values[5] = -1e30F;
    values[6] = -inf;
    values[7] = std::numeric_limits<float>::quiet_NaN();
    values[8] = -1e-40F;
    HWY_DYNAMIC_DISPATCH(exp2_all)(values.data(), values.size());
    EXPECT_EQ(values[0], 1) << test::simd_target_name(target);
    EXPECT_EQ(values[1], 1);
    EXPECT_EQ(values[2], 0.5F);
    EXPECT_EQ(values[3], 0x1p-126F);
    EXPECT_EQ(values[4], 0);
    EXPECT_EQ(values[5], 0);
    EXPECT_EQ(values[6], 0);
    EXPECT_TRUE(std::isnan(values[7]));
    EXPECT_EQ(values[8], 1);
  }
}

}  // namespace
}  // namespace lychee::attention
#endif
