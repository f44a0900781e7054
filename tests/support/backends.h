#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/simd_targets.h"
#include "tensor/device.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::test {

// A backend under test: an instruction set of the CPU, or this.
constexpr int64_t kCuda = -1;

// What this machine can run.
[[nodiscard]] inline std::vector<int64_t> backends() {
  std::vector<int64_t> all = simd_targets();
  if (cuda_available()) {
    all.push_back(kCuda);
  }
  return all;
}

[[nodiscard]] inline std::string backend_name(int64_t backend) {
  return backend == kCuda ? "CUDA" : simd_target_name(backend);
}

// Makes the CPU's kernels run on `backend` while this lives; nothing for CUDA.
class BackendScope {
 public:
  explicit BackendScope(int64_t backend) {
    if (backend != kCuda) {
      scope_ = std::make_unique<SimdTargetScope>(backend);
    }
  }

 private:
  std::unique_ptr<SimdTargetScope> scope_;
};

// Host arrays on the device for one call of a kernel: the kernel gets the addresses that in() and
// inout() return, and finish() brings back what it wrote.
class DeviceCall {
 public:
  [[nodiscard]] CUstream_st* stream() const { return stream_.get(); }

  template <typename T>
  [[nodiscard]] const T* in(const T* host, int64_t count) {
    return host == nullptr ? nullptr : upload(host, count);
  }
  template <typename T>
  [[nodiscard]] T* inout(T* host, int64_t count) {
    T* device = upload(host, count);
    results_.push_back(
        [=, this] { copy_to_host(host, device, count * int64_t{sizeof(T)}, stream_.get()); });
    return device;
  }
  void finish() {
    stream_.synchronize();
    for (const auto& fetch : results_) {
      fetch();
    }
    stream_.synchronize();
  }

 private:
  template <typename T>
  [[nodiscard]] T* upload(const T* host, int64_t count) {
    const int64_t bytes = count * int64_t{sizeof(T)};
    buffers_.emplace_back(bytes);
    copy_to_device(buffers_.back().data(), host, bytes, stream_.get());
    return reinterpret_cast<T*>(buffers_.back().data());
  }

  Stream stream_;
  std::deque<DeviceBuffer> buffers_;
  std::vector<std::function<void()>> results_;
};

}  // namespace lychee::test
