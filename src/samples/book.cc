#include "samples/book.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "base/check.h"

namespace lychee::samples {
namespace {

constexpr std::array<std::string_view, 6> kAbbreviations{"Mr.", "Mrs.", "Ms.",
                                                         "Dr.", "St.",  "Esq."};

}  // namespace

Book::Book(std::string_view text) {
  std::istringstream stream{std::string(text)};
  for (std::string word; stream >> word;) {
    words_.push_back(word);
  }
  require(!words_.empty(), ErrorCode::kInvalidArgument, "the text has no words");
}

bool Book::ends_sentence(int64_t index) const {
  const std::string_view whole = word(index);
  const size_t last = whole.find_last_not_of("\"')]_*");
  return last != std::string_view::npos && last > 1 &&
         std::string_view(".!?").find(whole[last]) != std::string_view::npos &&
         std::find(kAbbreviations.begin(), kAbbreviations.end(), whole) == kAbbreviations.end();
}

int64_t Book::sentence_start(int64_t index) const {
  for (int64_t i = index; i < index + num_words(); ++i) {
    if (ends_sentence(i + num_words() - 1)) {
      return i % num_words();
    }
  }
  return 0;
}

std::string Book::excerpt(int64_t start, int64_t count) const {
  std::string text;
  for (int64_t i = start; i < start + count; ++i) {
    text.append(text.empty() ? "" : " ").append(word(i));
  }
  return text;
}

}  // namespace lychee::samples
