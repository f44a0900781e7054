#include "text/tokenizer_bpe.h"

#include <algorithm>
#include <bit>

namespace lychee::text {
namespace {

constexpr uint64_t kEmpty = ~uint64_t{0};

// Up to here the quadratic loop over a small array beats the heap.
constexpr size_t kMaxShort = 48;

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32U) | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t num_merges) {
  const size_t slots = std::bit_ceil(std::max<size_t>(2, num_merges * 2));
  slots_.resize(slots);
  shift_ = 64 - std::countr_zero(slots);
}

size_t MergeTable::slot_of(uint64_t key) const {
  size_t slot = (key * 0x9e3779b97f4a7c15U) >> static_cast<unsigned>(shift_);
  while (slots_[slot].key != key && slots_[slot].key != kEmpty) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = pair_key(left, right);
  slots_[slot_of(key)] = {key, merge};
}

Merge MergeTable::find(int32_t left, int32_t right) const {
  return slots_[slot_of(pair_key(left, right))].merge;
}

void BpeMerger::merge(const MergeTable& table, std::vector<int32_t>& symbols) {
  if (symbols.size() <= kMaxShort) {
    merge_short(table, symbols);
  } else {
    merge_long(table, symbols);
  }
}

void BpeMerger::merge_short(const MergeTable& table, std::vector<int32_t>& symbols) {
  merges_.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    merges_.push_back(table.find(symbols[i], symbols[i + 1]));
  }
  while (!merges_.empty()) {
    // Unsigned: the rank -1 of pairs that do not merge comes last.
    const auto best = std::min_element(merges_.begin(), merges_.end(), [](auto& a, auto& b) {
      return static_cast<uint32_t>(a.rank) < static_cast<uint32_t>(b.rank);
    });
    if (best->rank < 0) {
      return;
    }
    const auto at = static_cast<size_t>(best - merges_.begin());
    symbols[at] = best->id;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    merges_.erase(best);
    if (at > 0) {
      merges_[at - 1] = table.find(symbols[at - 1], symbols[at]);
    }
    if (at + 1 < symbols.size()) {
      merges_[at] = table.find(symbols[at], symbols[at + 1]);
    }
  }
}

bool BpeMerger::comes_later(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

void BpeMerger::push_candidate(const MergeTable& table, int32_t position) {
  const Node& node = nodes_[static_cast<size_t>(position)];
  if (node.next < 0) {
    return;
  }
  const int32_t right = nodes_[static_cast<size_t>(node.next)].id;
  const Merge merge = table.find(node.id, right);
  if (merge.rank >= 0) {
    heap_.push_back({merge.rank, position, node.id, right, merge.id});
  }
}

void BpeMerger::merge_long(const MergeTable& table, std::vector<int32_t>& symbols) {
  const auto count = static_cast<int32_t>(symbols.size());
  nodes_.clear();
  heap_.clear();
  for (int32_t i = 0; i < count; ++i) {
    nodes_.push_back({symbols[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  for (int32_t i = 0; i < count; ++i) {
    push_candidate(table, i);
  }
  std::make_heap(heap_.begin(), heap_.end(), comes_later);
  const auto push_heap = [&](int32_t position) {
    const size_t before = heap_.size();
    push_candidate(table, position);
    if (heap_.size() > before) {
      std::push_heap(heap_.begin(), heap_.end(), comes_later);
    }
  };
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), comes_later);
    const Candidate best = heap_.back();
    heap_.pop_back();
    Node& node = nodes_[static_cast<size_t>(best.position)];
    const int32_t right = node.next;
    // A neighbour may have been merged since this pair was found.
    if (node.id != best.left || right < 0 || nodes_[static_cast<size_t>(right)].id != best.right) {
      continue;
    }
    node.id = best.merged;
    node.next = nodes_[static_cast<size_t>(right)].next;
    nodes_[static_cast<size_t>(right)].id = -1;
    if (node.next >= 0) {
      nodes_[static_cast<size_t>(node.next)].previous = best.position;
    }
    push_heap(best.position);
    if (node.previous >= 0) {
      push_heap(node.previous);
    }
  }
  symbols.clear();
  for (int32_t i = 0; i >= 0; i = nodes_[static_cast<size_t>(i)].next) {
    symbols.push_back(nodes_[static_cast<size_t>(i)].id);
  }
}

}  // namespace lychee::text
