#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace lychee {

// A dense row-major tensor that somebody else owns; the last dimension is contiguous. Data from a
// file may be unaligned.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;

  [[nodiscard]] int64_t count() const {
    int64_t product = 1;
    for (const int64_t size : shape) {
      product *= size;
    }
    return product;
  }
  [[nodiscard]] int64_t bytes() const { return dtype_bytes(dtype, count()); }
};

}  // namespace lychee
