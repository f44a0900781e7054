#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lychee::eval {

// True when the text begins with the digits of `number`, white space before and between them aside,
// and no further digit follows directly.
[[nodiscard]] bool number_is_right(std::string_view text, std::string_view number);

// The share of the words of `phrase` that the text has at the same place among its words, case and
// the punctuation around words aside.
[[nodiscard]] double share_of_words(std::string_view text, std::string_view phrase);

// RULER's string matches: the share of `references` that the text holds, case aside, or 1 when it
// holds one. White space and control characters at the text's ends are dropped before, other
// control characters count as line ends. Needs a reference.
[[nodiscard]] double match_all(std::string_view text, const std::vector<std::string>& references);
[[nodiscard]] double match_any(std::string_view text, const std::vector<std::string>& references);

}  // namespace lychee::eval
