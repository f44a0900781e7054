#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;  // keeps CUDA headers out of every file that only handles buffers

namespace lychee {

// Owning device memory, uninitialised, aligned to 256 bytes, move-only.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Throws Error(kOutOfMemory) with the bytes asked for and the bytes free.
  explicit DeviceBuffer(int64_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Owning page-locked host memory, uninitialised, move-only: what a copy that shall not make the
// host wait must read from or write to. Device code can address it as well.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  // Throws Error(kOutOfMemory).
  explicit PinnedBuffer(int64_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept;
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept;
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Enqueue on `stream` and return; the caller keeps both sides alive until the stream got there.
// From or to host memory that is not pinned the call itself may wait for the copy.
void copy_to_device(void* dst, const void* src, int64_t bytes, CUstream_st* stream);
void copy_to_host(void* dst, const void* src, int64_t bytes, CUstream_st* stream);
void copy_on_device(void* dst, const void* src, int64_t bytes, CUstream_st* stream);
// Sets each byte to the low eight bits of `value`.
void fill_on_device(void* dst, int value, int64_t bytes, CUstream_st* stream);

}  // namespace lychee
