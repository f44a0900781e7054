#pragma once

#include <cstddef>
#include <cstdint>

namespace lychee {

// Owning host memory, zero-filled, page-aligned, move-only. It is reserved as address space and
// committed by the operating system page by page when first written, so a generous capacity costs
// nothing until it is used and pointers into it never move.
class Buffer {
 public:
  Buffer() = default;
  // Throws Error(kOutOfMemory) when the address space cannot be reserved.
  explicit Buffer(int64_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  [[nodiscard]] std::byte* data() { return data_; }
  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] int64_t bytes() const { return bytes_; }
  // Gives the memory of [offset, offset + size) back to the system; it reads as zero afterwards.
  void release(int64_t offset, int64_t size);

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace lychee
