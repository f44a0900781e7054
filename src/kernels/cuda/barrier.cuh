#pragma once

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"

namespace lychee {

// Barriers in shared memory (PTX: mbarrier). A phase ends when as many threads have arrived as
// init_barrier() was told; phases count from 0. Arriving releases what the thread wrote before,
// waiting acquires it.

// By one thread, before a barrier of the block.
__device__ inline void init_barrier(uint64_t& barrier, int num_arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" ::"r"(shared_address(&barrier)),
               "r"(num_arrivals)
               : "memory");
}
// By one thread: the hardware takes one barrier of a warp at a time, and lanes with one each would
// take turns at many times the cost.
template <int kCount>
__device__ inline void init_barriers(uint64_t (&barriers)[kCount], int num_arrivals) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    init_barrier(barriers[i], num_arrivals);
  }
}
__device__ inline void arrive(uint32_t barrier) {
  asm volatile("{ .reg .b64 token; mbarrier.arrive.shared.b64 token, [%0]; }\n" ::"r"(barrier)
               : "memory");
}
__device__ inline void arrive(uint64_t& barrier) {
  arrive(shared_address(&barrier));
}
// How often arrive_as_warp() arrives. compute-sanitizer's racecheck does not know that a lane's
// arrival is behind what the other lanes did before __syncwarp(): for it, every lane arrives.
#ifdef LYCHEE_EVERY_LANE_ARRIVES
constexpr int kWarpArrivals = 32;
#else
constexpr int kWarpArrivals = 1;
#endif
// For a whole warp, behind what its lanes have done.
__device__ inline void arrive_as_warp(uint32_t barrier) {
  __syncwarp();
  if (kWarpArrivals > 1 || threadIdx.x % 32 == 0) {
    arrive(barrier);
  }
}
__device__ inline void arrive_as_warp(uint64_t& barrier) {
  arrive_as_warp(shared_address(&barrier));
}
// Arrives once all copies that this thread has issued are there; does not wait for them.
__device__ inline void arrive_behind_copies(uint64_t& barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];\n" ::"r"(shared_address(&barrier))
               : "memory");
}

// Whether the phase of this parity has ended.
[[nodiscard]] __device__ inline bool test_phase(uint32_t barrier, uint32_t parity) {
  uint32_t ended = 0;
  asm volatile(
      "{ .reg .pred ended; mbarrier.test_wait.parity.shared.b64 ended, [%1], %2;"
      " selp.u32 %0, 1, 0, ended; }\n"
      : "=r"(ended)
      : "r"(barrier), "r"(parity)
      : "memory");
  return ended != 0;
}
// The same, after waiting for it a moment where the hardware can.
[[nodiscard]] __device__ inline bool try_phase(uint32_t barrier, uint32_t parity) {
#if __CUDA_ARCH__ >= 900
  uint32_t ended = 0;
  asm volatile(
      "{ .reg .pred ended; mbarrier.try_wait.parity.shared.b64 ended, [%1], %2;"
      " selp.u32 %0, 1, 0, ended; }\n"
      : "=r"(ended)
      : "r"(barrier), "r"(parity)
      : "memory");
  return ended != 0;
#else
  return test_phase(barrier, parity);
#endif
}
// Returns when the phase of this parity has ended; that before the first has parity 1.
__device__ inline void wait_for_phase(uint32_t barrier, uint32_t parity) {
  while (!try_phase(barrier, parity)) {
  }
}
__device__ inline void wait_for_phase(uint64_t& barrier, uint32_t parity) {
  wait_for_phase(shared_address(&barrier), parity);
}

// Barrier `kId` (1 … 15) of kNumThreads threads of the block, whole warps: all have called one of
// the two when sync_threads() returns.
template <int kId, int kNumThreads>
__device__ inline void sync_threads() {
  asm volatile("bar.sync %0, %1;\n" ::"n"(kId), "n"(kNumThreads) : "memory");
}

template <int kId, int kNumThreads>
__device__ inline void arrive_threads() {
  asm volatile("bar.arrive %0, %1;\n" ::"n"(kId), "n"(kNumThreads) : "memory");
}

}  // namespace lychee
