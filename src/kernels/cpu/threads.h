#pragma once

namespace lychee::cpu {

// Threads of the one compute pool (OpenMP) that kernels called from this thread use from now on;
// 0: all cores. Results do not depend on it.
void set_num_threads(int num_threads);
[[nodiscard]] int num_threads();

}  // namespace lychee::cpu
