#include "tensor/device.h"

#include <cuda_runtime_api.h>

#include <sstream>

#include "base/check.h"
#include "tensor/cuda/probe.h"

namespace lychee {
namespace {

std::string version(int number) {  // 13020 is 13.2
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

template <typename... Parts>
std::string sentence(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts) << "; or use --device cpu";
  return text.str();
}

std::string missing_driver() {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  if (driver == 0) {
    return sentence("no NVIDIA driver was found: install one for CUDA ", version(CUDART_VERSION));
  }
  return sentence("the NVIDIA driver is too old: it serves CUDA ", version(driver),
                  ", this build needs ", version(CUDART_VERSION), ": install a newer one");
}

// Why `status`, met while device 0 was being counted or started, keeps us from using it.
std::string explain(cudaError_t status, const CudaDevice& device) {
  switch (status) {
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
      return missing_driver();
    case cudaErrorNoDevice:
      return sentence("the NVIDIA driver sees no GPU: check nvidia-smi and CUDA_VISIBLE_DEVICES");
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidDeviceFunction:
      return sentence("the GPU ", device.name, " has compute capability ",
                      device.compute_capability / 10, '.', device.compute_capability % 10,
                      ", for which this build has no kernels (see LYCHEE_CUDA_ARCHITECTURES)");
    case cudaErrorMemoryAllocation:
      return sentence("the memory of the GPU ", device.name,
                      " is full: end the processes that nvidia-smi shows there");
    default:
      return sentence("the GPU cannot be used: ", cudaGetErrorName(status), ": ",
                      cudaGetErrorString(status));
  }
}

cudaError_t describe(CudaDevice& device) {
  cudaDeviceProp properties;
  if (const cudaError_t status = cudaGetDeviceProperties(&properties, 0); status != cudaSuccess) {
    return status;
  }
  device.name = properties.name;
  device.compute_capability = properties.major * 10 + properties.minor;
  device.num_sms = properties.multiProcessorCount;
  device.l2_bytes = properties.l2CacheSize;
  device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  if (const cudaError_t status = probe_kernels(); status != cudaSuccess) {
    return status;
  }
  size_t free_bytes = 0;
  size_t all_bytes = 0;
  const cudaError_t status = cudaMemGetInfo(&free_bytes, &all_bytes);
  device.free_bytes = static_cast<int64_t>(free_bytes);
  return status;
}

}  // namespace

CudaDevice query_cuda() noexcept {
  CudaDevice device;
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) {
    status = count == 0 ? cudaErrorNoDevice : describe(device);
  }
  device.available = status == cudaSuccess;
  if (!device.available) {
    device.missing = explain(status, device);
    cudaGetLastError();  // forgets it, so that no later check reports it again
  }
  return device;
}

void require_cuda() {
  const CudaDevice device = query_cuda();
  require(device.available, ErrorCode::kUnsupported, device.missing);
}

}  // namespace lychee
