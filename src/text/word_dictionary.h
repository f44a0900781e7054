#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::text {

// Words and how often each occurs, in the order of their characters.
class WordDictionary {
 public:
  // Lines of a word, its count and further fields, separated by blanks, in UTF-8. A word that comes
  // twice has its last count; both count for the total. Throws Error(kInvalidArgument) that names
  // `name` and the line for what is no word with a count, and for no words at all.
  WordDictionary(const std::string& name, std::string_view lines);

  // Sum of all counts.
  [[nodiscard]] int64_t total() const { return total_; }
  // Count of the word; 0: it is none.
  [[nodiscard]] int64_t count(std::u32string_view word) const;

  struct Match {
    size_t length;  // characters
    int64_t count;  // > 0
  };
  // The words that `text` begins with, short ones first. `matches` is overwritten.
  void match(std::u32string_view text, std::vector<Match>& matches) const;

 private:
  struct Entry {
    size_t offset;  // in characters_
    size_t length;
    int64_t count;
  };
  [[nodiscard]] std::u32string_view word(const Entry& entry) const {
    return std::u32string_view(characters_).substr(entry.offset, entry.length);
  }
  void sort_entries();

  std::u32string characters_;
  std::vector<Entry> entries_;  // ascending by word, each once
  int64_t total_ = 0;
};

}  // namespace lychee::text
