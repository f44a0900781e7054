#pragma once

#include <cstdint>
#include <utility>
#include <variant>

#include "tensor/buffer.h"
#include "tensor/device_buffer.h"

namespace lychee::training {

// Owning memory of a backend: of the host, or of a device.
using Memory = std::variant<Buffer, DeviceBuffer>;

// `size` values in a backend's memory, move-only. Only that backend may follow data().
template <typename T>
class Array {
 public:
  Array() = default;
  // `data` lies in `memory`, or is null in an array that was only counted (Backend::allocate).
  Array(Memory memory, void* data, int64_t size)
      : memory_(std::move(memory)), data_(static_cast<T*>(data)), size_(size) {}

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] int64_t size() const { return size_; }

 private:
  Memory memory_;
  T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace lychee::training
