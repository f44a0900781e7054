// Values of quantised blocks against those of the `gguf` package (tools/dequantize_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/linear/linear.h"
#include "support/simd_targets.h"

namespace lychee::linear {
namespace {

struct Golden {
  std::string name;
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

std::vector<Golden> read_goldens() {
  std::ifstream file(LYCHEE_SOURCE_DIR "/tests/data/dequantize/golden.txt");
  std::vector<Golden> goldens;
  std::string name;
  std::string blocks;
  std::string values;
  while (file >> name >> blocks >> values) {
    Golden golden = {name, {}, {}};
    for (size_t i = 0; i < blocks.size(); i += 2) {
      golden.blocks.push_back(static_cast<std::byte>(std::stoul(blocks.substr(i, 2), nullptr, 16)));
    }
    for (size_t i = 0; i < values.size(); i += 8) {
      const auto bits = static_cast<uint32_t>(std::stoul(values.substr(i, 8), nullptr, 16));
      golden.values.push_back(std::bit_cast<float>(bits));
    }
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

DType dtype_named(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(DType::kQ6_K); ++i) {
    if (dtype_info(static_cast<DType>(i)).name == name) {
      return static_cast<DType>(i);
    }
  }
  ADD_FAILURE() << "no dtype " << name;
  return DType::kF32;
}

// scale · q + min may be rounded once (fused) or twice: half a unit of the larger term apart.
void expect_values(const Golden& golden, const std::vector<float>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t block = i / 32 * 32;  // a scale of its own
    float magnitude = 0;
    for (size_t j = block; j < block + 32; ++j) {
      magnitude = std::max(magnitude, std::fabs(golden.values[j]));
    }
    ASSERT_LE(std::fabs(values[i] - golden.values[i]), 2e-7F * magnitude)
        << golden.name << '[' << i << "] = " << values[i] << " instead of " << golden.values[i];
  }
}

TEST(Dequantize, MatchesTheGoldens) {
  const std::vector<Golden> goldens = read_goldens();
  ASSERT_EQ(goldens.size(), 8U);
  for (const int64_t target : test::simd_targets()) {
    SCOPED_TRACE(test::simd_target_name(target));
    const test::SimdTargetScope scope(target);
    for (const Golden& golden : goldens) {
      const DType dtype = dtype_named(golden.name);
      const auto count = static_cast<int64_t>(golden.values.size());
      ASSERT_EQ(dtype_bytes(dtype, count), static_cast<int64_t>(golden.blocks.size()));
      for (const size_t misalignment : {0, 1, 2}) {
        std::vector<std::byte> bytes(misalignment);
        bytes.insert(bytes.end(), golden.blocks.begin(), golden.blocks.end());
        std::vector<float> values(golden.values.size(), std::nanf(""));
        dequantize(dtype, bytes.data() + misalignment, count, values.data());
        expect_values(golden, values);
      }
    }
  }
}

TEST(Dequantize, WidensPlainTypesExactly) {
  const std::vector<float> values = {0, -0.0F, 1.5F, -3, 65504, 6e-8F, 1e-3F, 0.0999755859375F, 2};
  for (const int64_t target : test::simd_targets()) {
    const test::SimdTargetScope scope(target);
    const auto count = static_cast<int64_t>(values.size());
    std::vector<float> out(values.size(), std::nanf(""));
    dequantize(DType::kF32, std::bit_cast<const std::byte*>(values.data()), count, out.data());
    EXPECT_EQ(out, values);
    std::vector<f16> halves;
    std::vector<bf16> brains;
    for (const float value : values) {
      halves.emplace_back(value);
      brains.emplace_back(value);
    }
    dequantize(DType::kF16, std::bit_cast<const std::byte*>(halves.data()), count, out.data());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(out[i], static_cast<float>(halves[i]));
    }
    dequantize(DType::kBF16, std::bit_cast<const std::byte*>(brains.data()), count, out.data());
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(out[i], static_cast<float>(brains[i]));
    }
  }
}

}  // namespace
}  // namespace lychee::linear
