#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace lychee::cuda {

// Reads `bytes` (a multiple of 16) of device memory once, with as many loads on their way as the
// device takes: the yardstick of every memory-bound kernel. Adds to *sum, a device word, the words
// of 32 bits it read, modulo 2^32.
void read_stream(const std::byte* data, int64_t bytes, uint32_t* sum, CUstream_st* stream);

}  // namespace lychee::cuda
