#include "io/fetch/fetch_part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "io/fetch/cache_dir.h"

namespace lychee::io {

PartFile::PartFile(std::filesystem::path path, int64_t expected_bytes)
    : path_(std::move(path)), expected_bytes_(expected_bytes) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  struct stat info {};
  if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
    const int error = errno;
    if (fd_ >= 0) {
      ::close(fd_);
    }
    throw DiskError("cannot write " + path_.string() + ": " + std::strerror(error));
  }
  size_ = info.st_size;
}

PartFile::~PartFile() {
  ::close(fd_);
}

void PartFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written < 0) {
      fail_write(errno);
    }
    size_ += written;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void PartFile::append_file(const std::filesystem::path& source) {
  constexpr size_t kPieceBytes = size_t{1} << 20U;
  std::ifstream file(source, std::ios::binary);
  std::vector<char> piece(kPieceBytes);
  while (file.good()) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    append(std::as_bytes(std::span(piece)).first(static_cast<size_t>(file.gcount())));
  }
  if (!file.eof()) {
    throw DiskError("cannot read " + source.string());
  }
}

void PartFile::truncate(int64_t bytes) {
  if (::ftruncate(fd_, bytes) != 0) {
    throw DiskError("cannot shorten " + path_.string() + ": " + std::strerror(errno));
  }
  size_ = bytes;
}

void PartFile::fail_write(int error) {
  std::string message = "cannot write " + path_.string() + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) {
    struct statvfs info {};
    const bool known = ::statvfs(path_.parent_path().c_str(), &info) == 0;
    message += ", after " + std::to_string(size_) + " bytes";
    if (expected_bytes_ >= 0) {
      message += " of " + std::to_string(expected_bytes_);
    }
    if (known) {
      message += "; " + std::to_string(uint64_t{info.f_bavail} * info.f_frsize) + " bytes are free";
    }
    message += " (XDG_CACHE_HOME moves the cache)";
    ::unlink(path_.c_str());
  }
  throw DiskError(message);
}

}  // namespace lychee::io
