#pragma once

#include <cuda_runtime.h>

#include <type_traits>

#include "tensor/cuda/check.h"
#include "tensor/cuda/probe.h"

namespace lychee {

// Programmatic dependent launch: a kernel launched by launch_dependent() may start while the one
// before it on the stream still runs, so that its prologue and the other's tail overlap. Such a
// kernel calls wait_for_predecessors() in every thread that reads what earlier kernels wrote or
// that writes anything they may still read; before that it touches constants (weights) alone.
// Both do nothing in code for GPUs that lack the instructions (below 9.0) or where the launch was a
// plain one.
__device__ inline void wait_for_predecessors() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel start as soon as every block has called this or ended. It does not make our
// writes visible to it: that is what the other's wait_for_predecessors() is for. So it may come
// first thing.
__device__ inline void allow_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Of a launch in clusters of so many blocks (cluster.cuh).
[[nodiscard]] inline cudaLaunchAttribute cluster_attribute(unsigned num_blocks) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = num_blocks;
  attribute.val.clusterDim.y = 1;
  attribute.val.clusterDim.z = 1;
  return attribute;
}

// In clusters of so many blocks: 1, or more where the GPU has clusters (from 9.0 on).
template <typename... Params>
void launch_dependent_clusters(void (*kernel)(Params...), unsigned cluster, dim3 grid, dim3 block,
                               size_t shared_bytes, cudaStream_t stream,
                               const std::type_identity_t<Params>&... params) {
  cudaLaunchAttribute attributes[] = {{}, cluster_attribute(cluster)};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  // Code for older GPUs does not wait, wherever it runs.
  config.numAttrs = kernel_architecture() < 90 ? 0 : cluster > 1 ? 2 : 1;
  cuda_check(cudaLaunchKernelEx(&config, kernel, params...));
}
template <typename... Params>
void launch_dependent(void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                      cudaStream_t stream, const std::type_identity_t<Params>&... params) {
  launch_dependent_clusters(kernel, 1, grid, block, shared_bytes, stream, params...);
}

}  // namespace lychee
