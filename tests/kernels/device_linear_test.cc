// What the CUDA backend's linear layers do on the host: packing weights, refusing calls.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/linear_cuda_support.h"
#include "lychee/error.h"
#include "support/backends.h"
#include "support/random.h"

namespace lychee::linear {
namespace {

TEST(DeviceLinear, RefusesToRoundWhatIsMultipliedInF32) {
  const std::byte data{};
  const bf16 x;
  const DeviceLinearTarget target = {{DeviceFormat::kF32, 8, 8, &data}, nullptr, nullptr, 8};
  const DeviceLinearParams params = {.num_rows = 1,
                                     .in_features = 8,
                                     .x = nullptr,
                                     .rounded_x = &x,
                                     .x_stride = 8,
                                     .norm = {},
                                     .targets = {&target, 1},
                                     .accumulate = false,
                                     .swiglu = false,
                                     .rounded_swiglu = nullptr,
                                     .exact = false,
                                     .gemm = nullptr,
                                     .workspace = nullptr};
  EXPECT_THROW(cuda::linear(params, nullptr), Error);
}

TEST(PackDeviceWeight, PlainRowsArePadded) {
  const std::vector<float> rows = test::Random().normals(3 * 5);
  const std::vector<std::byte> packed = pack({DeviceFormat::kF32, DType::kF32},
                                             reinterpret_cast<const std::byte*>(rows.data()), 3, 5);
  ASSERT_EQ(packed.size(), 8U * 64 * 4);
  std::vector<float> values(8 * 64);
  std::memcpy(values.data(), packed.data(), packed.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const bool inside = i / 64 < 3 && i % 64 < 5;
    EXPECT_EQ(values[i], inside ? rows[i / 64 * 5 + i % 64] : 0.0F) << i;
  }
}

TEST(PackDeviceWeight, LanesHoldTheirCodesInOrder) {
  // Q8_0 with the scale 1 and the codes -128 … 127.
  std::vector<std::byte> rows(8 * 2 * 34);
  for (int64_t i = 0; i < 8 * 64; ++i) {
    std::byte* block = rows.data() + i / 32 * 34;
    const uint16_t one = f16(1).bits;
    std::memcpy(block, &one, 2);
    block[2 + i % 32] = static_cast<std::byte>(i % 256);
  }
  const std::vector<std::byte> packed =
      pack({DeviceFormat::kQ8_0, DType::kQ8_0}, rows.data(), 8, 64);
  ASSERT_EQ(packed.size(), 512U + 8 * 2 * 2);
  for (size_t row = 0; row < 8; ++row) {
    for (size_t i = 0; i < 64; ++i) {
      // Lane i % 16 / 4 of the row's four; its slots 0-3 and 4-7 are 16 inputs apart.
      const size_t at = row * 64 + i % 16 / 4 * 16 + i / 32 * 8 + i % 32 / 16 * 4 + i % 4;
      EXPECT_EQ(packed[at], static_cast<std::byte>((row * 64 + i) % 256)) << row << ", " << i;
    }
  }
}

TEST(PackDeviceWeight, RefusesWhatItCannotMake) {
  std::vector<std::byte> bytes(1024);
  EXPECT_THROW(cpu::pack_device_weight(DeviceFormat::kQ4_K, DType::kQ4_1, bytes.data(), 1, 256,
                                       bytes.data()),
               Error);
}

TEST(DeviceGemm, LoadsItsLibraryOrSaysWhyNot) {
  if (cuda_available()) {
    EXPECT_NO_THROW(DeviceGemm());
  } else {
    EXPECT_THROW(DeviceGemm(), Error);
  }
}

}  // namespace
}  // namespace lychee::linear
