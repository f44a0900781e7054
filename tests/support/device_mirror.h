#pragma once

#include <cstdint>
#include <iterator>
#include <vector>

#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::test {

// Host arrays mirrored on the device for the length of one call.
class DeviceMirror {
 public:
  // A copy on the device; null for null.
  template <typename T>
  [[nodiscard]] T* input(const T* data, int64_t count) {
    return static_cast<T*>(copy(data, count * static_cast<int64_t>(sizeof(T))));
  }
  // The same, copied back by finish().
  template <typename T>
  [[nodiscard]] T* output(T* data, int64_t count) {
    T* device = input(data, count);
    if (device != nullptr) {
      outputs_.push_back({data, device, count * static_cast<int64_t>(sizeof(T))});
    }
    return device;
  }
  template <typename T>
  [[nodiscard]] T* input(const std::vector<T>& values) {
    return input(values.data(), std::ssize(values));
  }
  template <typename T>
  [[nodiscard]] T* output(std::vector<T>& values) {
    return output(values.data(), std::ssize(values));
  }
  // Memory of a kernel's own, each byte set to `value`.
  [[nodiscard]] void* scratch(int64_t bytes, int value = 0xff);
  [[nodiscard]] CUstream_st* stream() const { return stream_.get(); }
  // Waits for the stream and brings the outputs back.
  void finish();

 private:
  struct Output {
    void* host;
    const void* device;
    int64_t bytes;
  };
  [[nodiscard]] void* copy(const void* data, int64_t bytes);

  Stream stream_;
  std::vector<DeviceBuffer> buffers_;
  std::vector<Output> outputs_;
};

}  // namespace lychee::test
