#pragma once

#include <cstdint>

#include "kernels/cuda/async_copy.cuh"
#include "kernels/cuda/barrier.cuh"
#include "kernels/cuda/bulk_copy.cuh"
#include "kernels/cuda/warp.cuh"

namespace lychee {

// Copies to shared memory by a warp, whose arrival a barrier knows: from compute capability 9.0 on
// by the bulk copy engine, a lane each, which takes some 40 ns for one and so is worth it from 2 KB
// on; else by all lanes, sixteen bytes at a time. The whole warp calls begin_copies(), then
// for_each_copy(), then end_copies().

#if __CUDA_ARCH__ >= 900
constexpr int kCopyArrivals = 1;  // what init_barrier() is told
#else
constexpr int kCopyArrivals = kWarpSize;
#endif

// total_bytes: of all copies up to end_copies(), which may be none.
__device__ inline void begin_copies([[maybe_unused]] uint64_t& barrier,
                                    [[maybe_unused]] int total_bytes) {
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x % kWarpSize == 0) {
    arrive_expecting(barrier, static_cast<uint32_t>(total_bytes));
  }
  __syncwarp();
#endif
}

// Calls fn(i), which calls copy_by_warp() at most once, for i in [0, count).
template <typename Fn>
__device__ void for_each_copy(int count, Fn&& fn) {
#if __CUDA_ARCH__ >= 900
  for (int i = static_cast<int>(threadIdx.x) % kWarpSize; i < count; i += kWarpSize) {
    fn(i);
  }
#else
  for (int i = 0; i < count; ++i) {
    fn(i);
  }
#endif
}

// Addresses and sizes are multiples of 16.
__device__ inline void copy_by_warp(uint32_t shared, const void* global, int bytes,
                                    [[maybe_unused]] uint64_t& barrier) {
#if __CUDA_ARCH__ >= 900
  copy_bulk(shared, global, static_cast<uint32_t>(bytes), barrier);
#else
  const auto* from = static_cast<const char*>(global);
  for (int i = static_cast<int>(threadIdx.x) % kWarpSize * 16; i < bytes; i += kWarpSize * 16) {
    copy_async_16(shared + static_cast<uint32_t>(i), from + i, true);
  }
#endif
}

__device__ inline void end_copies([[maybe_unused]] uint64_t& barrier) {
#if __CUDA_ARCH__ < 900
  arrive_behind_copies(barrier);
#endif
}

// A thread does not end before its copies; those of the engine are the block's.
__device__ inline void wait_for_own_copies() {
#if __CUDA_ARCH__ < 900
  commit_copies();
  wait_for_copies<0>();
#endif
}

}  // namespace lychee
