#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/buffer.h"

namespace lychee::model {

// The memory behind a KvCache, on whatever device the kernels run.
class KvMemory {
 public:
  KvMemory() = default;
  virtual ~KvMemory() = default;
  KvMemory(const KvMemory&) = delete;
  KvMemory& operator=(const KvMemory&) = delete;

  // An address of the device, not for the host to follow.
  [[nodiscard]] virtual std::byte* data() = 0;
  // Copies `bytes` at each of `count` places `stride` bytes apart, from offset `from` to `to`,
  // after what the device was asked to do before.
  virtual void copy(int64_t from, int64_t to, int64_t bytes, int64_t stride, int64_t count) = 0;
};

// Memory is committed when a page is first used.
class HostKvMemory final : public KvMemory {
 public:
  // Throws Error(kOutOfMemory) when the address space cannot be reserved.
  explicit HostKvMemory(int64_t bytes) : buffer_(bytes) {}

  [[nodiscard]] std::byte* data() override { return buffer_.data(); }
  void copy(int64_t from, int64_t to, int64_t bytes, int64_t stride, int64_t count) override;

 private:
  Buffer buffer_;
};

}  // namespace lychee::model
