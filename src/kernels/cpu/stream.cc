#include "kernels/cpu/stream.h"

#include <cstring>

namespace lychee::cpu {

namespace {

constexpr int kLanes = 64;  // words summed side by side, so that no addition waits for another

uint64_t sum_block(const std::byte* block) {
  uint64_t sums[kLanes] = {};
  for (int64_t offset = 0; offset < kStreamBlock; offset += int64_t{sizeof(sums)}) {
    uint64_t words[kLanes];
    std::memcpy(words, block + offset, sizeof(words));
    for (int lane = 0; lane < kLanes; ++lane) {
      sums[lane] += words[lane];
    }
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) {
    total += sum;
  }
  return total;
}

}  // namespace

uint64_t read_stream(const std::byte* data, int64_t bytes) {
  uint64_t total = 0;
#pragma omp parallel for schedule(static) reduction(+ : total)
  for (int64_t offset = 0; offset < bytes; offset += kStreamBlock) {
    total += sum_block(data + offset);
  }
  return total;
}

void copy_stream(const std::byte* from, std::byte* to, int64_t bytes) {
#pragma omp parallel for schedule(static)
  for (int64_t offset = 0; offset < bytes; offset += kStreamBlock) {
    std::memcpy(to + offset, from + offset, kStreamBlock);
  }
}

}  // namespace lychee::cpu
