#pragma once

#include <cstdint>

#include "kernels/cuda/convert.cuh"

namespace lychee {

// Eight values at a time: 16 bytes of 16-bit elements, the widest load and store.

// Four each of two addresses aligned to 16 bytes.
__device__ inline void load_eight(float (&values)[8], const float* first, const float* second) {
  const float4 low = *reinterpret_cast<const float4*>(first);
  const float4 high = *reinterpret_cast<const float4*>(second);
  values[0] = low.x;
  values[1] = low.y;
  values[2] = low.z;
  values[3] = low.w;
  values[4] = high.x;
  values[5] = high.y;
  values[6] = high.z;
  values[7] = high.w;
}

__device__ inline void load_eight(float (&values)[8], const float* address) {
  load_eight(values, address, address + 4);
}

// As elements in their order in memory, rounded to nearest, and back.
template <typename T>
[[nodiscard]] __device__ inline uint4 pack_eight(const float (&values)[8]) {
  return {pack_pair<T>(values[0], values[1]), pack_pair<T>(values[2], values[3]),
          pack_pair<T>(values[4], values[5]), pack_pair<T>(values[6], values[7])};
}

template <typename T>
__device__ inline void unpack_eight(float (&values)[8], const uint4& packed) {
  const uint32_t pairs[] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack_pair<T>(pairs[i]);
    values[2 * i] = pair.x;
    values[2 * i + 1] = pair.y;
  }
}

}  // namespace lychee
