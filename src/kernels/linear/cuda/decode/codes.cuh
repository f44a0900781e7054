#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/convert.cuh"

// Codes to floats, exactly. A small integer in the mantissa of an f16 1024 is that number plus the
// integer: masks build it and one subtraction for two values removes it, where a conversion
// instruction would run at an eighth of the rate.
namespace lychee::linear::cuda {

// Bytes 2 kHalf and 2 kHalf + 1 of `word` as e4m3. Its fields in the place of bf16's are off by the
// difference of the exponents' biases, a factor 2^120.
template <int kHalf>
[[nodiscard]] __device__ inline uint32_t e4m3_to_bf16(uint32_t word) {
  const uint32_t raised = __byte_perm(word, 0, kHalf == 0 ? 0x1404 : 0x3424);
  const uint32_t fields = (raised & 0x80008000U) | ((raised >> 4) & 0x07f007f0U);
  const uint32_t factor = 0x7b807b80U;
  const __nv_bfloat162 value = __hmul2(reinterpret_cast<const __nv_bfloat162&>(fields),
                                       reinterpret_cast<const __nv_bfloat162&>(factor));
  return reinterpret_cast<const uint32_t&>(value);
}

// Four bytes as floats; kSigned: two's complement.
template <bool kSigned>
__device__ inline void bytes_to_floats(uint32_t word, float* values) {
  const uint32_t offset = kSigned ? 0x64806480U : 0x64006400U;  // 1024, and 128 for the sign
  const uint32_t bytes = kSigned ? word ^ 0x80808080U : word;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t raised = __byte_perm(bytes, 0x64646464U, half == 0 ? 0x4140 : 0x4342);
    const __half2 pair =
        __hsub2(reinterpret_cast<const __half2&>(raised), reinterpret_cast<const __half2&>(offset));
    const float2 floats = __half22float2(pair);
    values[2 * half] = floats.x;
    values[2 * half + 1] = floats.y;
  }
}

__device__ inline void halves_to_floats(uint32_t word, float* values) {
  const float2 floats = unpack_pair<__half>(word);
  values[0] = floats.x;
  values[1] = floats.y;
}
__device__ inline void halves_to_floats(const uint2& words, float* values) {
  halves_to_floats(words.x, values);
  halves_to_floats(words.y, values + 2);
}

}  // namespace lychee::linear::cuda
