#pragma once

#include <cstdint>

namespace lychee {

// Bytes that programs can still take without swapping, as the system estimates; 0 if it cannot
// tell.
[[nodiscard]] int64_t available_memory_bytes();
// The most memory this process has held at once, mapped file pages included.
[[nodiscard]] int64_t peak_memory_bytes();

}  // namespace lychee
