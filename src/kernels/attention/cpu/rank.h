#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace lychee::attention::cpu {

// An integer that orders like the score: -0 equals +0, NaN equals -inf. Integers, because they
// keep denormals apart whatever the processor's flush-to-zero mode is.
[[nodiscard]] inline uint32_t score_key(float score) {
  constexpr uint32_t kSign = 0x80000000;
  constexpr uint32_t kInf = 0x7f800000;
  const uint32_t bits = std::bit_cast<uint32_t>(score);
  const uint32_t magnitude = bits & ~kSign;
  const uint32_t key = (bits & kSign) != 0 ? kSign - magnitude : kSign + magnitude;
  return magnitude > kInf ? kSign - kInf : key;
}

// The best of some keys: all above `key`, and of those equal to it the first `ties` by position.
struct Cut {
  uint32_t key;
  int64_t ties;

  // To be asked once for every key, in ascending position.
  [[nodiscard]] bool takes(uint32_t candidate) {
    const bool tie = candidate == key;
    const bool taken = candidate > key || (tie && ties > 0);
    ties -= tie ? 1 : 0;
    return taken;
  }
};

// The cut that takes the `wanted` best of key_of(first) … key_of(end - 1); 0 <= wanted <= end -
// first. Radix select from the highest digit: three passes over the keys, no memory but the counts.
template <typename KeyOf>
[[nodiscard]] Cut find_cut(int64_t first, int64_t end, int64_t wanted, const KeyOf& key_of) {
  if (wanted == 0) {
    return {.key = ~uint32_t{0}, .ties = 0};  // above the key of +inf
  }
  constexpr int kDigitBits = 8;
  // Scores crowd into few digits: neighbours count in different tables, or each increment would
  // wait for the one before.
  constexpr int kTables = 4;
  std::array<std::array<uint32_t, 1 << kDigitBits>, kTables> counts;  // 4 KiB: clearing is cheap
  constexpr uint32_t kMask = (1U << kDigitBits) - 1;
  uint32_t prefix = 0;
  for (int shift = 32 - kDigitBits; shift >= 0; shift -= kDigitBits) {
    for (auto& table : counts) {
      table.fill(0);
    }
    for (int64_t i = first; i < end; ++i) {
      const uint32_t key = key_of(i);
      const bool counted = (uint64_t{key} >> (shift + kDigitBits)) == prefix;
      counts[static_cast<size_t>(i) % kTables][(key >> shift) & kMask] += counted ? 1 : 0;
    }
    uint32_t digit = kMask;
    for (;; --digit) {
      int64_t count = 0;
      for (const auto& table : counts) {
        count += table[digit];
      }
      if (count >= wanted) {
        break;
      }
      wanted -= count;
    }
    prefix = prefix << kDigitBits | digit;
  }
  return {.key = prefix, .ties = wanted};
}

}  // namespace lychee::attention::cpu
