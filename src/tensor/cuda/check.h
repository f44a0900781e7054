#pragma once

#include <cuda_runtime_api.h>

#include "base/check.h"

namespace lychee {

// Throws when a CUDA call failed: kOutOfMemory for want of memory, else kCuda with the error's name
// and, since such an error mostly is a bug of ours, the caller's location.
inline void cuda_check(cudaError_t status,
                       const std::source_location& where = std::source_location::current()) {
  if (status == cudaSuccess) [[likely]] {
    return;
  }
  const ErrorCode code =
      status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kCuda;
  fail({code, where}, "CUDA: ", cudaGetErrorName(status), ": ", cudaGetErrorString(status), " [",
       where.file_name(), ':', where.line(), ']');
}

}  // namespace lychee
