#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "lychee/error.h"

namespace lychee::io {

// A fault of this machine's disk: another download source would meet it too.
class DiskError : public Error {
 public:
  explicit DiskError(const std::string& message) : Error(ErrorCode::kIo, message) {}
};

// `$XDG_CACHE_HOME/lycheedecode`, or `$HOME/.cache/lycheedecode`. Throws Error(kInvalidArgument)
// when neither variable names an absolute path. Not created.
[[nodiscard]] std::filesystem::path cache_dir();

// Where fetched models lie: `models` in cache_dir().
[[nodiscard]] std::filesystem::path models_dir();

// Creates `folder` and its parents. Throws DiskError naming it.
void create_folder(const std::filesystem::path& folder);

// The hidden companion of `target` in the same folder: `.<file name>.<suffix>`. Same folder means
// same file system, so that a rename is one step.
[[nodiscard]] std::filesystem::path companion(const std::filesystem::path& target,
                                              std::string_view suffix);

// Holds the right to write `target`, among threads and processes; waits for it. The lock lies in a
// companion file, which the last holder removes; the kernel frees the lock of a process that dies.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& target);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  // For children that must keep the lock while they write.
  [[nodiscard]] int descriptor() const { return fd_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// Throws DiskError unless the file system of `folder` has `needed_bytes` free.
void require_free_space(const std::filesystem::path& folder, int64_t needed_bytes);

// Deletes what interrupted fetches left in `folder` more than a week ago, companions with the
// suffix `part` or `lock`.
void remove_stale_companions(const std::filesystem::path& folder);

// Moves the finished `from` to `to` in one rename, after its bytes and before its name are on disk.
void move_into_place(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace lychee::io
