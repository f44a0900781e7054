#pragma once

#include <cooperative_groups.h>

namespace lychee {

// Blocks of a cluster: neighbours that run at the same time and read each other's shared memory.
// With kSize 1, which every GPU has, a block is alone.
template <int kSize>
struct Cluster {
  [[nodiscard]] static __device__ int rank() {
    if constexpr (kSize > 1) {
      return static_cast<int>(blockIdx.x % kSize);
    }
    return 0;
  }
  // A barrier of all threads; what they wrote to shared memory before is seen after it. One warp
  // alone fences: that of all would queue up.
  static __device__ void sync() {
    __syncthreads();
#if __CUDA_ARCH__ >= 900
    if constexpr (kSize > 1) {
      if (threadIdx.x < 32) {
        asm volatile("fence.acq_rel.cluster;\n" ::: "memory");
      }
      arrive();
      wait();
    }
#endif
  }
  // sync() in two halves, which order no writes: nobody waits for what a thread does between them.
  static __device__ void arrive() {
#if __CUDA_ARCH__ >= 900
    if constexpr (kSize > 1) {
      asm volatile("barrier.cluster.arrive.relaxed.aligned;\n" ::: "memory");
    }
#endif
  }
  static __device__ void wait() {
#if __CUDA_ARCH__ >= 900
    if constexpr (kSize > 1) {
      asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory");
    }
#endif
  }
  // The same variable in the shared memory of block `rank`.
  template <typename T>
  [[nodiscard]] static __device__ T* peer(T* own, int rank) {
#if __CUDA_ARCH__ >= 900
    if constexpr (kSize > 1) {
      return cooperative_groups::this_cluster().map_shared_rank(own, rank);
    }
#endif
    return own;
  }
};

}  // namespace lychee
