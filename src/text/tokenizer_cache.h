#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace lychee::text {

// Remembers the ids of short pieces during one call: natural text repeats its words, and a look
// here costs a tenth of merging them. Direct-mapped: a piece evicts another of the same slot.
class PieceCache {
 public:
  static constexpr size_t kMaxPieceBytes = 24;
  static constexpr size_t kMaxIds = 8;

  // Sized for a text of so many bytes, so that short calls do not pay for clearing a large table.
  explicit PieceCache(size_t text_bytes)
      : entries_(std::bit_ceil(std::clamp<size_t>(text_bytes / 16, 16, 32768))) {}

  struct Key {
    std::array<uint64_t, 3> words{};
    uint8_t size = 0;  // never 0 for a piece: 0 marks free entries
  };

  // The piece must have 1 to kMaxPieceBytes bytes.
  [[nodiscard]] static Key key_of(std::string_view piece) {
    Key key;
    std::memcpy(key.words.data(), piece.data(), piece.size());
    key.size = static_cast<uint8_t>(piece.size());
    return key;
  }

  // Appends the ids of `key` to `out`; false when they are not known.
  [[nodiscard]] bool lookup(const Key& key, std::vector<int32_t>& out) const {
    const Entry& entry = entries_[slot_of(key)];
    const bool same = ((entry.key.words[0] ^ key.words[0]) | (entry.key.words[1] ^ key.words[1]) |
                       (entry.key.words[2] ^ key.words[2])) == 0;
    if (!same || entry.key.size != key.size) {
      return false;
    }
    if (entry.num_ids == 1) {
      out.push_back(entry.ids[0]);
    } else {
      out.insert(out.end(), entry.ids.begin(), entry.ids.begin() + entry.num_ids);
    }
    return true;
  }

  void store(const Key& key, std::span<const int32_t> ids) {
    if (ids.size() > kMaxIds) {
      return;
    }
    Entry& entry = entries_[slot_of(key)];
    entry.key = key;
    entry.num_ids = static_cast<uint8_t>(ids.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
  }

 private:
  struct Entry {
    Key key;
    uint8_t num_ids = 0;
    std::array<int32_t, kMaxIds> ids{};
  };

  [[nodiscard]] size_t slot_of(const Key& key) const {
    uint64_t hash = key.size;
    for (const uint64_t word : key.words) {
      hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
      hash ^= hash >> 32U;
    }
    return hash & (entries_.size() - 1);
  }

  std::vector<Entry> entries_;
};

}  // namespace lychee::text
