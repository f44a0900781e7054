#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/kv_scales.h"
#include "kernels/attention_support.h"
#include "support/compare.h"

namespace lychee::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(KvScales, ArePowersOfTwoWithRoomAbove) {
  static_assert(fp8_kv_scale(0) == 1);
  static_assert(fp8_kv_scale(55.9F) == 1);
  static_assert(fp8_kv_scale(56) == 2);
  static_assert(fp8_kv_scale(1000) == 32);
  static_assert(fp8_kv_scale(1e-3F) == 0x1p-15F);
  EXPECT_EQ(fp8_kv_scale(kNan), 1);
  EXPECT_EQ(fp8_kv_scale(std::numeric_limits<float>::infinity()), 1);
  for (float max_abs = 1e-27F; max_abs < 1e37F; max_abs *= 1.7F) {
    int exponent = 0;
    EXPECT_EQ(std::frexp(fp8_kv_scale(max_abs), &exponent), 0.5F);
    const float stored = max_abs / fp8_kv_scale(max_abs);
    EXPECT_TRUE(stored >= 28 && stored < 56) << max_abs;
  }
  // Quotients stay finite, and so do scales.
  EXPECT_EQ(fp8_kv_scale(std::numeric_limits<float>::denorm_min()), 0x1p-100F);
  EXPECT_TRUE(std::isfinite(fp8_kv_scale(std::numeric_limits<float>::max())));
}

TEST(KvScales, AreOfTheLargestValueOfEachHead) {
  constexpr int kHeads = 3;
  constexpr int kDim = 40;
  constexpr int64_t kStride = 2 * kHeads * kDim + 7;
  for (const int num_tokens : {1, 70}) {
    test::Random random;
    std::vector<float> rows = random.normals(num_tokens * kStride);
    for (int64_t i = 0; i < num_tokens; ++i) {
      for (int64_t d = 0; d < kDim; ++d) {
        rows[static_cast<size_t>(i * kStride + d)] *= 1000;              // K of head 0
        rows[static_cast<size_t>(i * kStride + 2 * kDim + d)] *= 1e-3F;  // of head 2
        rows[static_cast<size_t>(i * kStride + 4 * kDim + d)] = 0;       // V of head 1
      }
    }
    rows[2 * kDim + 3] = kNan;                                                  // passed over
    rows[static_cast<size_t>((num_tokens - 1) * kStride + 3 * kDim - 1)] = -7;  // the last of K
    const auto scales_of = [&](bool cuda) {
      std::vector<float> scales(2 * kHeads, kNan);
      KvScalesParams params{.num_tokens = num_tokens,
                            .num_kv_heads = kHeads,
                            .head_dim = kDim,
                            .k = rows.data(),
                            .v = rows.data() + kHeads * kDim,
                            .row_stride = kStride,
                            .k_scales = scales.data(),
                            .v_scales = scales.data() + kHeads};
      if (!cuda) {
        reference::kv_scales(params);
        return scales;
      }
      test::DeviceMirror mirror;
      params.k = mirror.input(rows);
      params.v = params.k + kHeads * kDim;
      params.k_scales = mirror.output(scales.data(), 2 * kHeads);
      params.v_scales = params.k_scales + kHeads;
      cuda::kv_scales(params, mirror.stream());
      mirror.finish();
      return scales;
    };
    const std::vector<float> expected = scales_of(false);
    EXPECT_EQ(expected[2], 0.25F);
    EXPECT_EQ(expected[4], 1);
    EXPECT_GE(expected[0], 16);
    for ([[maybe_unused]] const Backend& backend : cuda_backends()) {
      EXPECT_EQ(scales_of(true), expected) << num_tokens << " tokens";
    }
  }
}

}  // namespace
}  // namespace lychee::attention
