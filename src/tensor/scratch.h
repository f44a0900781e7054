#pragma once

#include <cstdint>

#include "tensor/buffer.h"

namespace lychee {

// Scratch memory for one kernel call after another; grows to the most that any of them wants.
class Scratch {
 public:
  // At least `bytes`. What lay there before is lost.
  [[nodiscard]] void* take(int64_t bytes) {
    if (buffer_.bytes() < bytes) {
      buffer_ = Buffer(bytes);
    }
    return buffer_.data();
  }

 private:
  Buffer buffer_;
};

}  // namespace lychee
