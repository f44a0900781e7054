#pragma once

#include <string_view>

namespace lychee::eval {

// True when the text begins with the digits of `number`, white space before and between them aside,
// and no further digit follows directly.
[[nodiscard]] bool number_is_right(std::string_view text, std::string_view number);

// The share of the words of `phrase` that the text has at the same place among its words, case and
// the punctuation around words aside.
[[nodiscard]] double share_of_words(std::string_view text, std::string_view phrase);

}  // namespace lychee::eval
