#pragma once

#include <cuda_runtime_api.h>

namespace lychee {

// Starts the device and looks for this build's machine code in it: cudaSuccess when kernels can
// run.
[[nodiscard]] cudaError_t probe_kernels();

}  // namespace lychee
