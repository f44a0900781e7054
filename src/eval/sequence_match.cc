#include "eval/sequence_match.h"

#include <cstddef>
#include <map>
#include <vector>

namespace lychee::eval {
namespace {

struct Block {
  size_t a, b, size;
};

class Matcher {
 public:
  Matcher(std::u32string_view a, std::u32string_view b) : a_(a), b_(b) {
    for (size_t j = 0; j < b.size(); ++j) {
      places_[b[j]].push_back(j);
    }
    if (b.size() >= 200) {
      std::erase_if(places_,
                    [&](const auto& entry) { return entry.second.size() > b.size() / 100 + 1; });
    }
  }

  [[nodiscard]] size_t matched() const {
    size_t sum = 0;
    std::vector<Range> open{{0, a_.size(), 0, b_.size()}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      const Block block = longest(range);
      if (block.size == 0) {
        continue;
      }
      sum += block.size;
      open.push_back({range.a_begin, block.a, range.b_begin, block.b});
      open.push_back({block.a + block.size, range.a_end, block.b + block.size, range.b_end});
    }
    return sum;
  }

 private:
  struct Range {
    size_t a_begin, a_end, b_begin, b_end;
  };

  // The longest block in the range, the first in `a` and then in `b`, widened by equal characters
  // that begin no block.
  [[nodiscard]] Block longest(const Range& range) const {
    Block best{range.a_begin, range.b_begin, 0};
    std::map<size_t, size_t> lengths;  // of the block that ends at a place in b
    for (size_t i = range.a_begin; i < range.a_end; ++i) {
      std::map<size_t, size_t> next;
      const auto found = places_.find(a_[i]);
      if (found != places_.end()) {
        for (const size_t j : found->second) {
          if (j < range.b_begin || j >= range.b_end) {
            continue;
          }
          const auto before = j > 0 ? lengths.find(j - 1) : lengths.end();
          const size_t size = (before == lengths.end() ? 0 : before->second) + 1;
          next[j] = size;
          if (size > best.size) {
            best = {i + 1 - size, j + 1 - size, size};
          }
        }
      }
      lengths = std::move(next);
    }
    while (best.a > range.a_begin && best.b > range.b_begin && a_[best.a - 1] == b_[best.b - 1]) {
      --best.a;
      --best.b;
      ++best.size;
    }
    while (best.a + best.size < range.a_end && best.b + best.size < range.b_end &&
           a_[best.a + best.size] == b_[best.b + best.size]) {
      ++best.size;
    }
    return best;
  }

  std::u32string_view a_, b_;
  std::map<char32_t, std::vector<size_t>> places_;  // of the characters of b
};

}  // namespace

double match_ratio(std::u32string_view a, std::u32string_view b) {
  const size_t all = a.size() + b.size();
  return all == 0 ? 1 : 2 * static_cast<double>(Matcher(a, b).matched()) / static_cast<double>(all);
}

}  // namespace lychee::eval
