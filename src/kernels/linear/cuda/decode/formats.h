#pragma once

namespace lychee::linear::cuda {

// Defined in formats.cuh, which nvcc alone can read; one per DeviceFormat but kF32.
struct FormatF16;
struct FormatBf16;
struct FormatFp8;
struct FormatInt8;
struct FormatInt4;
struct FormatInt4G32;
struct FormatQ4_1;
struct FormatQ5_0;
struct FormatQ5_1;
struct FormatQ8_0;
struct FormatQ4_K;
struct FormatQ5_K;
struct FormatQ6_K;

}  // namespace lychee::linear::cuda
