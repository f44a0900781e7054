#pragma once

#include <cstddef>
#include <cstdint>

namespace lychee::cpu {

// Plain passes over memory with the threads of the pool: the yardsticks of every memory-bound
// kernel. `bytes` must be a multiple of kStreamBlock, and the pointers aligned to 64.
constexpr int64_t kStreamBlock = 4096;

// Reads `bytes` once and returns their sum as 64-bit words, modulo 2^64.
[[nodiscard]] uint64_t read_stream(const std::byte* data, int64_t bytes);
// Copies `bytes` with ordinary stores.
void copy_stream(const std::byte* from, std::byte* to, int64_t bytes);

}  // namespace lychee::cpu
