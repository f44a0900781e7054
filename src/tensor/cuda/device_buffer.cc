#include "tensor/device_buffer.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "base/check.h"
#include "tensor/cuda/check.h"

namespace lychee {
namespace {

[[noreturn]] void fail_for_memory(int64_t bytes) {
  cudaGetLastError();  // forgets it, so that no later check reports it again
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  cudaMemGetInfo(&free_bytes, &all_bytes);
  fail(ErrorCode::kOutOfMemory, "cannot allocate ", bytes, " bytes on the GPU: ", free_bytes,
       " of ", all_bytes, " are free");
}

void copy(void* dst, const void* src, int64_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  cuda_check(cudaMemcpyAsync(dst, src, static_cast<size_t>(bytes), kind, stream));
}

}  // namespace

DeviceBuffer::DeviceBuffer(int64_t bytes) : bytes_(bytes) {
  require(bytes >= 0, ErrorCode::kInternal, "negative buffer size ", bytes);
  if (bytes == 0) {
    return;
  }
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    fail_for_memory(bytes);
  }
  cuda_check(status);
  data_ = static_cast<std::byte*>(memory);
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) {
    cudaFree(data_);
  }
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedBuffer::PinnedBuffer(int64_t bytes) : bytes_(bytes) {
  require(bytes >= 0, ErrorCode::kInternal, "negative buffer size ", bytes);
  if (bytes == 0) {
    return;
  }
  void* memory = nullptr;
  const cudaError_t status = cudaMallocHost(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::kOutOfMemory, "cannot page-lock ", bytes, " bytes of host memory");
  }
  cuda_check(status);
  data_ = static_cast<std::byte*>(memory);
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) {
    cudaFreeHost(data_);
  }
}

PinnedBuffer::PinnedBuffer(PinnedBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedBuffer& PinnedBuffer::operator=(PinnedBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void copy_to_device(void* dst, const void* src, int64_t bytes, CUstream_st* stream) {
  copy(dst, src, bytes, cudaMemcpyHostToDevice, stream);
}

void copy_to_host(void* dst, const void* src, int64_t bytes, CUstream_st* stream) {
  copy(dst, src, bytes, cudaMemcpyDeviceToHost, stream);
}

void copy_on_device(void* dst, const void* src, int64_t bytes, CUstream_st* stream) {
  copy(dst, src, bytes, cudaMemcpyDeviceToDevice, stream);
}

void fill_on_device(void* dst, int value, int64_t bytes, CUstream_st* stream) {
  cuda_check(cudaMemsetAsync(dst, value, static_cast<size_t>(bytes), stream));
}

}  // namespace lychee
