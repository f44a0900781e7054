#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/barrier.cuh"

namespace lychee {

// Copies of the bulk copy engine (compute capability 9.0 and later): one thread starts them, and a
// barrier's phase ends when their bytes have arrived too.

// Arrives at the barrier, whose phase will then wait for so many bytes of copies as well.
__device__ inline void arrive_expecting([[maybe_unused]] uint64_t& barrier,
                                        [[maybe_unused]] uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;\n" ::"r"(shared_address(&barrier)),
      "r"(bytes)
      : "memory");
#endif
}

// Starts a copy of `bytes`, a multiple of 16, between addresses that are multiples of 16.
__device__ inline void copy_bulk([[maybe_unused]] uint32_t shared,
                                 [[maybe_unused]] const void* global,
                                 [[maybe_unused]] uint32_t bytes,
                                 [[maybe_unused]] uint64_t& barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::
          "r"(shared),
      "l"(global), "r"(bytes), "r"(shared_address(&barrier))
      : "memory");
#endif
}

// The same of a box of an array, whose first element is given: see tensor_map.h.
__device__ inline void copy_tensor([[maybe_unused]] uint32_t shared,
                                   [[maybe_unused]] const CUtensorMap& map, [[maybe_unused]] int x,
                                   [[maybe_unused]] int y, [[maybe_unused]] int z,
                                   [[maybe_unused]] uint64_t& barrier) {
#if __CUDA_ARCH__ >= 900
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%2, %3, %4}], [%5];\n" ::"r"(shared),
      "l"(&map), "r"(x), "r"(y), "r"(z), "r"(shared_address(&barrier))
      : "memory");
#endif
}

// Makes barriers that this thread has initialised known to the copy engine.
__device__ inline void fence_barriers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
#endif
}

}  // namespace lychee
