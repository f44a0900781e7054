#include "tensor/cuda/check.h"
#include "tensor/cuda/probe.h"

namespace lychee {
namespace {

__global__ void probe_kernel() {}

}  // namespace

cudaError_t probe_kernels() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, probe_kernel);
}

int kernel_architecture() {
  static const int architecture = [] {
    cudaFuncAttributes attributes;
    cuda_check(cudaFuncGetAttributes(&attributes, probe_kernel));
    return attributes.ptxVersion;
  }();
  return architecture;
}

}  // namespace lychee
