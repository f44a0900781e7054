#pragma once

#include <cstdint>

namespace lychee::attention::cpu {

constexpr int64_t kGatherPadding = 16;  // elements after `capacity` that gather_above may write

// Writes key and position of those of scores[first … end) whose score_key is at least `pivot`, in
// ascending position. Returns how many there are; more than `capacity` means that it gave up.
int64_t gather_above(const float* scores, int64_t first, int64_t end, uint32_t pivot,
                     int64_t capacity, uint32_t* keys, int32_t* positions);

}  // namespace lychee::attention::cpu
