#pragma once

#include <cuda_runtime_api.h>

namespace lychee {

// Starts the device and looks for this build's machine code in it: cudaSuccess when kernels can
// run.
[[nodiscard]] cudaError_t probe_kernels();

// The architecture that this build's kernels were compiled for, of those that run on this GPU, as
// 10 · major + minor. Below the GPU's own where there is none for it: then kernels lack what only
// newer code has, such as clusters, though the GPU has it.
[[nodiscard]] int kernel_architecture();

}  // namespace lychee
