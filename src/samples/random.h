#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace lychee::samples {

// SplitMix64: the same numbers on every platform, unlike the distributions of <random>.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }
  // In [0, bound); the bias is below 2^-32 for bounds below 2^32.
  uint64_t below(uint64_t bound) { return next() % bound; }
  int64_t index(int64_t size) { return static_cast<int64_t>(below(static_cast<uint64_t>(size))); }
  // In [0, 1).
  double share() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  template <typename T>
  const T& pick(const std::vector<T>& items) {
    return items[below(items.size())];
  }
  // Puts `count` items, drawn without replacement, at the front in random order.
  template <typename T>
  void shuffle_front(std::vector<T>& items, size_t count) {
    for (size_t i = 0; i < count && i + 1 < items.size(); ++i) {
      std::swap(items[i], items[i + below(items.size() - i)]);
    }
  }

 private:
  uint64_t state_;
};

}  // namespace lychee::samples
