// Rounding weights to another dtype, read back by `dequantize`.

#include "kernels/linear/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/linear/linear.h"
#include "support/expect_error.h"

namespace lychee::linear {
namespace {

constexpr int64_t kRows = 5;
constexpr int64_t kColumns = 96;
constexpr int64_t kBlock = 32;

std::vector<float> round_trip(const std::vector<float>& values, DType dtype) {
  std::vector<std::byte> bytes(static_cast<size_t>(dtype_bytes(dtype, kRows * kColumns)),
                               std::byte{0xff});
  cpu::quantize({.num_rows = kRows,
                 .num_columns = kColumns,
                 .from = DType::kF32,
                 .src = reinterpret_cast<const std::byte*>(values.data()),
                 .to = dtype,
                 .dst = bytes.data()});
  std::vector<float> back(values.size(), std::numeric_limits<float>::quiet_NaN());
  dequantize(dtype, bytes.data(), std::ssize(back), back.data());
  return back;
}

std::vector<float> random_values() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<float> values(kRows * kColumns);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  std::fill_n(values.begin(), kBlock, 0.0F);            // a block of zeros
  std::fill_n(values.begin() + kBlock, kBlock, -0.5F);  // all equal
  return values;
}

// The largest error of a block, in units of its largest value.
double worst_error(const std::vector<float>& values, const std::vector<float>& back) {
  double worst = 0;
  for (int64_t first = 0; first < std::ssize(values); first += kBlock) {
    double largest = 0;
    double error = 0;
    for (int64_t i = first; i < first + kBlock; ++i) {
      const auto at = static_cast<size_t>(i);
      largest = std::max(largest, std::fabs(double{values[at]}));
      const double difference = std::fabs(double{values[at]} - double{back[at]});
      error = difference <= error ? error : difference;  // NaN is worst
    }
    worst = error <= worst * largest ? worst : error / largest;
  }
  return worst;
}

TEST(Quantize, ErrsByHalfAStepAtMost) {
  const std::vector<float> values = random_values();
  constexpr double kScaleError = 0x1p-11;  // the scale is stored as f16
  EXPECT_EQ(worst_error(values, round_trip(values, DType::kF32)), 0);
  EXPECT_LE(worst_error(values, round_trip(values, DType::kBF16)), 0x1p-8);
  EXPECT_LE(worst_error(values, round_trip(values, DType::kQ8_0)), 0.5 / 127 + kScaleError);
  // -8 … 7 steps: what is as large as the extreme with the other sign loses a whole step.
  EXPECT_LE(worst_error(values, round_trip(values, DType::kQ4_0)), 1.0 / 8 + kScaleError);
  EXPECT_GT(worst_error(values, round_trip(values, DType::kQ4_0)), 0.5 / 127);
}

TEST(Quantize, IsExactForWhatTheFormatHolds) {
  std::vector<float> values(kRows * kColumns);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<int>(i * 5 % 16) - 8) * 0.25F;
  }
  EXPECT_EQ(round_trip(values, DType::kQ4_0), values);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<int>(i * 9 % 255) - 127) * 0.5F;
    values[i] = i % kBlock == 0 ? 63.5F : values[i];
  }
  EXPECT_EQ(round_trip(values, DType::kQ8_0), values);
}

TEST(Quantize, RefusesOtherFormats) {
  EXPECT_FALSE(can_quantize_to(DType::kQ6_K));
  test::expect_error(ErrorCode::kUnsupported, "q6_K",
                     [] { (void)round_trip(random_values(), DType::kQ6_K); });
}

}  // namespace
}  // namespace lychee::linear
