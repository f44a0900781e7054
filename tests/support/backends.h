#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "support/simd_targets.h"
#include "tensor/device.h"

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

[[nodiscard]] inline std::vector<int64_t> cuda_backends() {
  return cuda_available() ? std::vector<int64_t>{kCuda} : std::vector<int64_t>{};
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

}  // namespace lychee::test
