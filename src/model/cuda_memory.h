#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/math.h"
#include "model/kv_memory.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::model {

// Sizes of things that will share one piece of device memory, added up before it is taken.
class DeviceLayout {
 public:
  static constexpr int64_t kAlignment = 256;

  // The offset of the next `bytes`.
  int64_t add(int64_t bytes) {
    const int64_t offset = bytes_;
    bytes_ += round_up(bytes, kAlignment);
    return offset;
  }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

// Pages in device memory, all of it taken at once.
class CudaKvMemory final : public KvMemory {
 public:
  // Copies are enqueued on `stream`. Throws Error(kOutOfMemory).
  CudaKvMemory(int64_t bytes, std::shared_ptr<const Stream> stream)
      : buffer_(bytes), stream_(std::move(stream)) {}

  [[nodiscard]] std::byte* data() override { return buffer_.data(); }
  void copy(int64_t from, int64_t to, int64_t bytes, int64_t stride, int64_t count) override {
    for (int64_t i = 0; i < count; ++i) {
      copy_on_device(data() + to + i * stride, data() + from + i * stride, bytes, stream_->get());
    }
  }

 private:
  DeviceBuffer buffer_;
  std::shared_ptr<const Stream> stream_;
};

}  // namespace lychee::model
