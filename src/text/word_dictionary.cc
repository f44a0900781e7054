#include "text/word_dictionary.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

// Cuts the first field off `line`, which has single blanks between fields.
std::string_view take_field(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return field;
}

bool parse_count(std::string_view digits, int64_t& count) {
  const char* end = digits.data() + digits.size();
  return std::from_chars(digits.data(), end, count) == std::from_chars_result{end, std::errc()} &&
         count >= 0;
}

}  // namespace

WordDictionary::WordDictionary(const std::string& name, std::string_view lines) {
  std::string storage;
  lines = valid_utf8(lines, storage);
  int64_t number = 0;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    ++number;
    line = line.substr(0, line.find('\r'));
    Entry entry{.offset = characters_.size(), .length = 0, .count = 0};
    std::string_view word = take_field(line);
    while (!word.empty()) {
      characters_ += first_code_point(word);
      word.remove_prefix(char_length(word[0]));
    }
    entry.length = characters_.size() - entry.offset;
    require(entry.length > 0 && parse_count(take_field(line), entry.count),
            ErrorCode::kInvalidArgument, name, ", line ", number, ": no word with its count");
    total_ += entry.count;
    entries_.push_back(entry);
  }
  require(total_ > 0, ErrorCode::kInvalidArgument, name, ": no words");
  sort_entries();
}

void WordDictionary::sort_entries() {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [&](const Entry& a, const Entry& b) { return word(a) < word(b); });
  // The last of equal words, which is the first from the end.
  const auto kept = std::unique(entries_.rbegin(), entries_.rend(),
                                [&](const Entry& a, const Entry& b) { return word(a) == word(b); });
  entries_.erase(entries_.begin(), kept.base());
}

int64_t WordDictionary::count(std::u32string_view wanted) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), wanted,
      [&](const Entry& entry, std::u32string_view value) { return word(entry) < value; });
  return found != entries_.end() && word(*found) == wanted ? found->count : 0;
}

void WordDictionary::match(std::u32string_view text, std::vector<Match>& matches) const {
  matches.clear();
  auto low = entries_.begin();
  auto high = entries_.end();
  for (size_t i = 0; i < text.size(); ++i) {
    // Of the words that begin with the i characters before, those that go on with this one: the
    // word that ends here stands before all others.
    const auto next = [&](const Entry& entry) {
      return entry.length > i ? int64_t{characters_[entry.offset + i]} : -1;
    };
    const int64_t c = text[i];
    low = std::partition_point(low, high, [&](const Entry& entry) { return next(entry) < c; });
    high = std::partition_point(low, high, [&](const Entry& entry) { return next(entry) == c; });
    if (low == high) {
      return;
    }
    if (low->length == i + 1 && low->count > 0) {
      matches.push_back({i + 1, low->count});
    }
  }
}

}  // namespace lychee::text
