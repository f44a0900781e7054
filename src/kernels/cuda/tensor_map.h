#pragma once

#include <cuda.h>

#include <array>
#include <cstdint>

namespace lychee {

// What the copy engine of a Hopper or later GPU must know of an array of 16-bit elements in device
// memory (CUDA driver API: CUtensorMap), to copy boxes of it: `sizes` and `box` in elements, the
// first dimension contiguous, at most 64 elements of a box wide and swizzled to as many (128
// bytes); strides in bytes, of the other dimensions. What lies outside is copied as zeros. The
// memory is aligned to 16 bytes, strides are multiples of that.
[[nodiscard]] CUtensorMap tensor_map_3d(const void* data, const std::array<uint64_t, 3>& sizes,
                                        const std::array<uint64_t, 2>& strides,
                                        const std::array<uint32_t, 3>& box);

}  // namespace lychee
