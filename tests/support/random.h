#pragma once

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

namespace lychee::test {

constexpr uint32_t kSeed = 0x5eed;  // fixed: a failure must reproduce

// Seeded numbers, the same on every platform for the same calls.
class Random {
 public:
  explicit Random(uint32_t seed = kSeed) : engine_(seed) {}

  // In [low, high).
  [[nodiscard]] float uniform(float low, float high) {
    constexpr float kUnit = 1.0F / (1 << 24);
    return low + (high - low) * static_cast<float>(engine_() >> 8) * kUnit;
  }
  // Mean 0, variance 1, in ±6: the sum of twelve uniform numbers.
  [[nodiscard]] float normal() {
    float sum = -6;
    for (int i = 0; i < 12; ++i) {
      sum += uniform(0, 1);
    }
    return sum;
  }
  // In [low, high].
  [[nodiscard]] int64_t integer(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  [[nodiscard]] std::vector<float> normals(int64_t count, float scale = 1) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) {
      value = scale * normal();
    }
    return values;
  }
  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[engine_() % i]);
    }
  }

 private:
  std::mt19937 engine_;
};

}  // namespace lychee::test
