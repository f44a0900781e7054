#include "tensor/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace lychee {

Buffer::Buffer(int64_t bytes) : bytes_(bytes) {
  require(bytes >= 0, ErrorCode::kInternal, "negative buffer size ", bytes);
  if (bytes == 0) {
    return;
  }
  void* memory = ::mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(memory != MAP_FAILED, ErrorCode::kOutOfMemory, "cannot reserve ", bytes, " bytes");
  data_ = static_cast<std::byte*>(memory);
}

Buffer::~Buffer() {
  if (data_ != nullptr) {
    ::munmap(data_, static_cast<size_t>(bytes_));
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void Buffer::release(int64_t offset, int64_t size) {
  const int64_t page = ::sysconf(_SC_PAGESIZE);
  const int64_t begin = round_up(offset, page);
  const int64_t end = (offset + size) / page * page;
  if (begin < end) {
    ::madvise(data_ + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
  }
}

}  // namespace lychee
