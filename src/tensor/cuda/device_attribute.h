#pragma once

#include <cuda_runtime_api.h>

#include <source_location>

#include "tensor/cuda/check.h"

namespace lychee {

// Of the current device.
[[nodiscard]] inline int device_attribute(
    cudaDeviceAttr attribute, const std::source_location& where = std::source_location::current()) {
  int device = 0;
  int value = 0;
  cuda_check(cudaGetDevice(&device), where);
  cuda_check(cudaDeviceGetAttribute(&value, attribute, device), where);
  return value;
}

}  // namespace lychee
