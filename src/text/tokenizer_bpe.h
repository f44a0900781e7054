#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lychee::text {

// What two neighbouring tokens merge into. Lower ranks merge first.
struct Merge {
  int32_t rank = -1;  // < 0: they do not merge
  int32_t id = -1;
};

// Token pairs to merges: an open-addressing hash table. Immutable once filled.
class MergeTable {
 public:
  explicit MergeTable(size_t num_merges = 0);
  // A later merge of the same pair replaces the earlier. Ids must not be negative. At most
  // `num_merges` pairs.
  void insert(int32_t left, int32_t right, Merge merge);
  [[nodiscard]] Merge find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t key = ~uint64_t{0};
    Merge merge;
  };
  [[nodiscard]] size_t slot_of(uint64_t key) const;

  std::vector<Slot> slots_;
  int shift_ = 63;  // 64 - log2(slots)
};

// Merges the symbols of one piece: again and again the pair of lowest rank, the leftmost of
// several. Holds scratch; one per thread. O(n log n) for n symbols.
class BpeMerger {
 public:
  // In place; every symbol is a token id.
  void merge(const MergeTable& table, std::vector<int32_t>& symbols);

 private:
  struct Candidate {
    int32_t rank;
    int32_t position;
    int32_t left;
    int32_t right;
    int32_t merged;
  };
  struct Node {
    int32_t id;  // -1: merged into the one before
    int32_t previous;
    int32_t next;  // -1 at either end
  };

  void merge_short(const MergeTable& table, std::vector<int32_t>& symbols);
  void merge_long(const MergeTable& table, std::vector<int32_t>& symbols);
  void push_candidate(const MergeTable& table, int32_t position);
  static bool comes_later(const Candidate& a, const Candidate& b);

  std::vector<Merge> merges_;  // of symbol i with symbol i + 1
  std::vector<Node> nodes_;
  std::vector<Candidate> heap_;
};

}  // namespace lychee::text
