#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::text::jinja {

// Python's view of a string as code points, over UTF-8. A byte that belongs to no valid sequence
// counts as one character and is kept as it is.

[[nodiscard]] std::vector<std::string_view> characters(std::string_view text);
[[nodiscard]] int64_t count_characters(std::string_view text);
// The code point of a character, -1 for an invalid byte.
[[nodiscard]] int32_t code_point(std::string_view character);
void append_code_point(std::string& text, int32_t code);

[[nodiscard]] bool is_space(int32_t code);      // str.isspace
[[nodiscard]] bool is_printable(int32_t code);  // str.isprintable
[[nodiscard]] bool is_digit(int32_t code);
[[nodiscard]] bool is_letter(int32_t code);
[[nodiscard]] bool is_upper(std::string_view text);
[[nodiscard]] bool is_lower(std::string_view text);

[[nodiscard]] std::string to_upper(std::string_view text);
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_title(std::string_view text);  // str.title
[[nodiscard]] std::string capitalize(std::string_view text);

// str.strip and its halves: of the characters in `set`, or of white space when `set` is null.
[[nodiscard]] std::string_view strip_left(std::string_view text, const std::string* set);
[[nodiscard]] std::string_view strip_right(std::string_view text, const std::string* set);
[[nodiscard]] std::vector<std::string_view> split_lines(std::string_view text);

}  // namespace lychee::text::jinja
