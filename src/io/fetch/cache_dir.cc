#include "io/fetch/cache_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/logging.h"
#include "base/math.h"

namespace lychee::io {
namespace fs = std::filesystem;
namespace {

constexpr auto kStaleAge = std::chrono::hours(24 * 7);

fs::path absolute_variable(const char* name) {
  const char* value = std::getenv(name);
  const fs::path path = value == nullptr ? "" : value;
  return path.is_absolute() ? path : fs::path();
}

template <typename... Parts>
[[noreturn]] void fail_disk(int error, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw DiskError(message.str() + ": " + std::strerror(error));
}

// True when the file that `fd` opened still has the name `path`: its last holder may have removed
// it between our open and our lock.
bool still_named(int fd, const fs::path& path) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

void lock_waiting(int fd, const fs::path& path) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return;
  }
  if (errno == EWOULDBLOCK) {
    log_warn("waiting for another process that fetches the same model");
    while (::flock(fd, LOCK_EX) != 0) {
      if (errno != EINTR) {
        fail_disk(errno, "cannot lock ", path.string());
      }
    }
    return;
  }
  fail_disk(errno, "cannot lock ", path.string());
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) {
    ::fsync(fd);
    ::close(fd);
  }
}

void sync_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool ok = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) {
    ::close(fd);
  }
  if (!ok) {
    fail_disk(error, "cannot write ", path.string(), " to disk");
  }
}

}  // namespace

fs::path cache_dir() {
  if (const fs::path xdg = absolute_variable("XDG_CACHE_HOME"); !xdg.empty()) {
    return xdg / "lycheedecode";
  }
  const fs::path home = absolute_variable("HOME");
  require(!home.empty(), ErrorCode::kInvalidArgument,
          "no cache folder: set HOME or XDG_CACHE_HOME to an absolute path");
  return home / ".cache" / "lycheedecode";
}

fs::path models_dir() {
  return cache_dir() / "models";
}

void create_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail_disk(error.value(), "cannot create the folder ", folder.string(),
              " (XDG_CACHE_HOME moves the cache)");
  }
}

fs::path companion(const fs::path& target, std::string_view suffix) {
  std::string name = "." + target.filename().string() + ".";
  return target.parent_path() / name.append(suffix);
}

FileLock::FileLock(const fs::path& target) : path_(companion(target, "lock")) {
  while (true) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) {
      fail_disk(errno, "cannot write in the cache folder ", target.parent_path().string(),
                " (XDG_CACHE_HOME moves the cache)");
    }
    try {
      lock_waiting(fd_, path_);
    } catch (...) {
      ::close(fd_);
      throw;
    }
    if (still_named(fd_, path_)) {
      return;
    }
    ::close(fd_);
  }
}

FileLock::~FileLock() {
  ::unlink(path_.c_str());
  ::close(fd_);
}

void require_free_space(const fs::path& folder, int64_t needed_bytes) {
  struct statvfs info {};
  if (needed_bytes <= 0 || ::statvfs(folder.c_str(), &info) != 0) {
    return;
  }
  uint64_t free_bytes = 0;
  if (!checked_mul(uint64_t{info.f_bavail}, uint64_t{info.f_frsize}, free_bytes)) {
    return;
  }
  if (free_bytes < static_cast<uint64_t>(needed_bytes)) {
    throw DiskError("not enough space in " + folder.string() + ": " + std::to_string(needed_bytes) +
                    " bytes needed, " + std::to_string(free_bytes) +
                    " free (XDG_CACHE_HOME moves the cache)");
  }
}

void remove_stale_companions(const fs::path& folder) {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    // A link is left alone: its time is that of what it leads to.
    const bool ours = name.starts_with('.') &&
                      (name.ends_with(".part") || name.ends_with(".lock")) &&
                      !it->is_symlink(ignored);
    const auto written = fs::last_write_time(it->path(), ignored);
    if (ours && !ignored && now - written > kStaleAge) {
      fs::remove_all(it->path(), ignored);
    }
  }
}

void move_into_place(const fs::path& from, const fs::path& to) {
  if (fs::is_regular_file(from)) {
    sync_file(from);
  }
  std::error_code error;
  fs::rename(from, to, error);
  if (error) {
    fail_disk(error.value(), "cannot move ", from.string(), " to ", to.string());
  }
  sync_folder(to.parent_path());
}

}  // namespace lychee::io
