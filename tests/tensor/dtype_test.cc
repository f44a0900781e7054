#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lychee {
namespace {

TEST(DType, Bf16RoundsToNearestEven) {
  EXPECT_EQ(bf16(1.0F).bits, 0x3f80);
  EXPECT_EQ(bf16(1.00390625F).bits, 0x3f80);  // halfway between 0x3f80 and 0x3f81: to even
  EXPECT_EQ(bf16(1.01171875F).bits, 0x3f82);  // halfway between 0x3f81 and 0x3f82: to even
  EXPECT_EQ(static_cast<float>(bf16(-2.5F)), -2.5F);
}

TEST(DType, Bf16KeepsNanAndInfinity) {
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::nanf("")))));
  // All mantissa bits set: plain rounding would carry into the sign.
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7fffffffU)))));
  EXPECT_EQ(static_cast<float>(bf16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
}

TEST(DType, F8RoundTrips) {
  for (uint32_t bits = 0; bits < 0x7f; ++bits) {
    f8e4m3 small;
    small.bits = static_cast<uint8_t>(bits);
    EXPECT_EQ(f8e4m3(static_cast<float>(small)).bits, bits);
  }
  EXPECT_EQ(static_cast<float>(f8e4m3(1.0625F)), 1.0F);  // halfway: to even
  EXPECT_EQ(static_cast<float>(f8e4m3(1.1875F)), 1.25F);
  EXPECT_EQ(f8e4m3(0x1p-10F).bits, 0);  // halfway to the least denormal: to even
  EXPECT_EQ(f8e4m3(0x1.8p-10F).bits, 1);
  EXPECT_EQ(f8e4m3(-1e30F).bits, 0xfe);
  EXPECT_EQ(static_cast<float>(f8e4m3(std::numeric_limits<float>::infinity())), 448.0F);
  EXPECT_EQ(f8e4m3(-0.0F).bits, 0x80);
  EXPECT_TRUE(std::isnan(static_cast<float>(f8e4m3(std::nanf("")))));
}

TEST(DType, F16RoundTrips) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    f16 half;
    half.bits = static_cast<uint16_t>(bits);
    EXPECT_EQ(f16(static_cast<float>(half)).bits, bits);
  }
  EXPECT_EQ(f16(65519.0F).bits, 0x7bff);
  EXPECT_EQ(f16(65520.0F).bits, 0x7c00);  // halfway beyond the largest half: to infinity
  EXPECT_EQ(f16(-1e30F).bits, 0xfc00);
  EXPECT_EQ(f16(0x1p-25F).bits, 0);  // halfway to the least denormal: to even
  EXPECT_EQ(f16(0x1.000002p-25F).bits, 1);
  EXPECT_EQ(f16(1.0F + 0x1p-11F).bits, 0x3c00);  // halfway: to even
  EXPECT_EQ(f16(1.0F + 0x3p-11F).bits, 0x3c02);
  EXPECT_EQ(f16(-0.0F).bits, 0x8000);
  EXPECT_TRUE(std::isnan(static_cast<float>(f16(std::nanf("")))));
  EXPECT_EQ(static_cast<float>(f16(-std::numeric_limits<float>::infinity())),
            -std::numeric_limits<float>::infinity());
}

TEST(DType, BytesOfBlocks) {
  EXPECT_EQ(dtype_bytes(DType::kF16, 10), 20);
  EXPECT_EQ(dtype_bytes(DType::kQ4_1, 64), 40);
  EXPECT_EQ(dtype_bytes(DType::kQ6_K, 512), 420);
  EXPECT_TRUE(is_quantized(DType::kQ8_0));
  EXPECT_FALSE(is_quantized(DType::kBF16));
}

}  // namespace
}  // namespace lychee
