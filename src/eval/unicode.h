#pragma once

#include <string>
#include <string_view>

namespace lychee::eval {

// UTF-8 as code points; bytes that are none become U+FFFD.
[[nodiscard]] std::u32string to_code_points(std::string_view text);
[[nodiscard]] std::string to_utf8(std::u32string_view text);
// Python's string.punctuation.
[[nodiscard]] bool is_ascii_punctuation(char32_t c);
// White space as Python's str.split() knows it.
[[nodiscard]] bool is_space(char32_t c);

}  // namespace lychee::eval
