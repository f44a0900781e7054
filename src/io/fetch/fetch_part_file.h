#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace lychee::io {

// The unfinished file of a download: grows at its end and survives the process, so that a later
// fetch resumes it. Every fault is a DiskError.
class PartFile {
 public:
  // Opens or creates `path`; what it already holds stays. `expected_bytes` (-1: unknown) is named
  // when the disk turns out to be full.
  explicit PartFile(std::filesystem::path path, int64_t expected_bytes = -1);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // On a full disk the file is removed before the error is thrown: it would keep the disk full.
  void append(std::span<const std::byte> bytes);
  // Appends the whole of another file.
  void append_file(const std::filesystem::path& source);
  void truncate(int64_t bytes);

 private:
  [[noreturn]] void fail_write(int error);

  std::filesystem::path path_;
  int64_t expected_bytes_;
  int64_t size_ = 0;
  int fd_ = -1;
};

}  // namespace lychee::io
