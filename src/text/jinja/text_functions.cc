#include "text/jinja/text_functions.h"

#include <algorithm>

#include "base/check.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

// Byte ranges of the words between white space.
std::vector<std::pair<size_t, size_t>> word_ranges(std::string_view text) {
  std::vector<std::pair<size_t, size_t>> ranges;
  bool inside = false;
  size_t at = 0;
  for (const std::string_view character : characters(text)) {
    const bool space = is_space(code_point(character));
    if (!space && !inside) {
      ranges.emplace_back(at, at);
    }
    inside = !space;
    at += character.size();
    if (inside) {
      ranges.back().second = at;
    }
  }
  return ranges;
}

Value list_of(Runtime& runtime, const std::vector<std::string_view>& pieces) {
  runtime.charge_steps(std::ssize(pieces));
  Values items(pieces.begin(), pieces.end());
  return make_sequence(std::move(items));
}

std::vector<std::string_view> split_words(std::string_view text, int64_t limit) {
  const auto ranges = word_ranges(text);
  std::vector<std::string_view> pieces;
  for (const auto& [start, end] : ranges) {
    if (limit >= 0 && std::ssize(pieces) == limit) {
      pieces.push_back(text.substr(start));
      break;
    }
    pieces.push_back(text.substr(start, end - start));
  }
  return pieces;
}

std::vector<std::string_view> split_words_from_right(std::string_view text, int64_t limit) {
  const auto ranges = word_ranges(text);
  std::vector<std::string_view> pieces;
  for (auto range = ranges.rbegin(); range != ranges.rend(); ++range) {
    if (limit >= 0 && std::ssize(pieces) == limit) {
      pieces.push_back(text.substr(0, range->second));
      break;
    }
    pieces.push_back(text.substr(range->first, range->second - range->first));
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

void require_separator(const std::string& separator) {
  require(!separator.empty(), ErrorCode::kInvalidArgument, "split(): the separator is empty");
}

}  // namespace

Value split(Runtime& runtime, std::string_view text, const std::string* separator, int64_t limit) {
  if (separator == nullptr) {
    return list_of(runtime, split_words(text, limit));
  }
  require_separator(*separator);
  std::vector<std::string_view> pieces;
  while (limit < 0 || std::ssize(pieces) < limit) {
    const size_t end = text.find(*separator);
    if (end == std::string_view::npos) {
      break;
    }
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end + separator->size());
  }
  pieces.push_back(text);
  return list_of(runtime, pieces);
}

Value split_from_right(Runtime& runtime, std::string_view text, const std::string* separator,
                       int64_t limit) {
  if (separator == nullptr) {
    return list_of(runtime, split_words_from_right(text, limit));
  }
  require_separator(*separator);
  std::vector<std::string_view> pieces;
  while (limit < 0 || std::ssize(pieces) < limit) {
    const size_t start = text.rfind(*separator);
    if (start == std::string_view::npos) {
      break;
    }
    pieces.push_back(text.substr(start + separator->size()));
    text = text.substr(0, start);
  }
  pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return list_of(runtime, pieces);
}

int64_t count(const std::string& text, const std::string& part) {
  if (part.empty()) {
    return count_characters(text) + 1;
  }
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++found;
  }
  return found;
}

Value replace(Runtime& runtime, const std::string& text, const std::string& old,
              const std::string& with, int64_t limit) {
  const int64_t occurrences = count(text, old);
  int64_t left = limit < 0 ? occurrences : std::min(limit, occurrences);
  require(std::ssize(with) <= runtime.limits().produced_bytes / (left + 1),
          ErrorCode::kInvalidArgument, "replace(): the result is too long");
  runtime.charge_bytes(std::ssize(text) + std::ssize(with) * left);
  std::string result;
  std::string_view rest = text;
  while (left-- > 0) {
    const size_t start = rest.find(old);
    result += rest.substr(0, start);
    result += with;
    rest.remove_prefix(start + old.size());
    if (old.empty() && !rest.empty()) {
      const std::string_view next = characters(rest.substr(0, 4)).front();
      result += next;
      rest.remove_prefix(next.size());
    }
  }
  result += rest;
  return result;
}

Value join(Runtime& runtime, const Values& items, const std::string& separator, bool only_texts) {
  std::string result;
  bool first = true;
  for (const Value& item : items) {
    require(!only_texts || item.text() != nullptr, ErrorCode::kInvalidArgument,
            "join(): an item is a ", type_name(item), ", not a str");
    runtime.charge_steps(1);
    runtime.charge_bytes(std::ssize(separator));
    if (!first) {
      result += separator;
    }
    first = false;
    result += text_of(runtime, item);
  }
  return result;
}

std::string text_of(Runtime& runtime, const Value& value) {
  runtime.charge_bytes(extent_of(value).weight);
  std::string text = to_text(value);
  runtime.charge_bytes(value.text() != nullptr ? 0 : std::ssize(text));
  return text;
}

}  // namespace lychee::text::jinja
