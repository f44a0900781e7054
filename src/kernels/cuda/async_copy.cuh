#pragma once

#include <cstdint>

namespace lychee {

[[nodiscard]] __device__ inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// An address that stays in its register. The compiler computes one anew for every use of it else,
// since it takes but a few instructions.
[[nodiscard]] __device__ inline uint32_t kept_address(uint32_t address) {
  asm volatile("" : "+r"(address));
  return address;
}

// Copies 16 bytes to shared memory behind the thread's back; zeros, and no read, unless `valid`.
__device__ inline void copy_async_16(uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}

// The same of what is read once: of all that L2 holds it leaves first, and the rest stays. Measured
// on Hopper alone, so others go without.
__device__ inline void copy_async_16_once(uint32_t shared, const void* global, bool valid) {
#if __CUDA_ARCH__ >= 900
  uint64_t policy = 0;
  asm("createpolicy.fractional.L2::evict_first.b64 %0;\n" : "=l"(policy));
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;\n" ::"r"(shared),
               "l"(global), "r"(valid ? 16 : 0), "l"(policy)
               : "memory");
#else
  copy_async_16(shared, global, valid);
#endif
}

// The same of 8 bytes.
__device__ inline void copy_async_8(uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;\n" ::"r"(shared), "l"(global),
               "r"(valid ? 8 : 0)
               : "memory");
}

__device__ inline void copy_async_4(uint32_t shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\n" ::"r"(shared), "l"(global) : "memory");
}

// Brings the cache line at `global` into the L2 cache, some time.
__device__ inline void prefetch_to_l2(const void* global) {
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(global));
}

// Closes the group of the copies issued since the last one.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}

// Waits until at most `kPending` of this thread's groups are under way.
template <int kPending>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

}  // namespace lychee
