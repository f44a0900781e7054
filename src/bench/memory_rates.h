#pragma once

#include <cstdint>

#include "tensor/buffer.h"

namespace lychee::bench {

// In 1e9 bytes a second, with all compute threads.
struct MemoryRates {
  double read_gb_per_s = 0;
  double copy_gb_per_s = 0;  // bytes read and bytes written
};

// Measures plain loops over as many bytes as the work under test touches: what fits in a cache does
// so for both. Keeps its buffer between calls.
class MemoryRuler {
 public:
  // Median of several passes. Beyond kMaxBytes nothing is cached any more, so as many do.
  [[nodiscard]] MemoryRates measure(int64_t bytes);

 private:
  static constexpr int64_t kMinBytes = int64_t{1} << 20;
  static constexpr int64_t kMaxBytes = int64_t{1} << 30;

  Buffer buffer_;
};

}  // namespace lychee::bench
