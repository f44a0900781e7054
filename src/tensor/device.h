#pragma once

#include <cstdint>
#include <string>

namespace lychee {

// The GPU that the CUDA backend would run on, or why there is none.
struct CudaDevice {
  bool available = false;
  // Why not, as a whole sentence that names what is missing (the build's CUDA half, the driver, a
  // device, a supported device, its memory) and what to do. Empty when available.
  std::string missing;

  std::string name;            // "NVIDIA H100 80GB HBM3"
  int compute_capability = 0;  // 90 for 9.0
  int num_sms = 0;
  int64_t l2_bytes = 0;
  int64_t memory_bytes = 0;  // all of its memory
  int64_t free_bytes = 0;    // what no process held when asked
};

// Asks the driver about device 0 and makes sure that a kernel of this build can run there. Costs a
// fraction of a second the first time, since it starts the device. Never throws.
[[nodiscard]] CudaDevice query_cuda() noexcept;
[[nodiscard]] inline bool cuda_available() noexcept {
  return query_cuda().available;
}

// Throws Error(kUnsupported) with CudaDevice::missing when the CUDA backend cannot run.
void require_cuda();

}  // namespace lychee
