#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace lychee {

// A file mapped read-only, whole. Move-only; unmaps on destruction. Pages are read from disk when
// first touched, so opening is cheap whatever the size.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws Error(kInvalidArgument) when the file is missing, unreadable or no regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Asks the kernel to read the file ahead in the background.
  void prefetch() const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lychee
