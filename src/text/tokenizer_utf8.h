#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lychee::text {

enum class Utf8Status {
  kValid,
  kInvalid,     // `length` bytes stand for one U+FFFD (the longest valid prefix of a character)
  kIncomplete,  // the text ends inside a character that more bytes could complete
};

struct Utf8Char {
  Utf8Status status;
  size_t length;
};

// The first character of a text that is not empty.
[[nodiscard]] Utf8Char first_char(std::string_view text);

// The first position from `pos` on that is not ASCII, or the text's end.
[[nodiscard]] size_t skip_ascii(std::string_view text, size_t pos);

[[nodiscard]] bool is_ascii(std::string_view text);

// The text itself when it is valid UTF-8; else a copy in `storage` with U+FFFD for what is not.
[[nodiscard]] std::string_view valid_utf8(std::string_view text, std::string& storage);

// Appends `text` to `out` with U+FFFD for what is not UTF-8, and returns how many bytes were used:
// with `keep_incomplete`, all but a character that the text ends within.
size_t append_valid_utf8(std::string_view text, bool keep_incomplete, std::string& out);

// The code point of the first character of valid, non-empty UTF-8.
[[nodiscard]] char32_t first_code_point(std::string_view text);

// Bytes of a character of valid UTF-8, by its first byte.
[[nodiscard]] constexpr size_t char_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

[[nodiscard]] constexpr bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

// Unicode's White_Space property.
[[nodiscard]] bool is_white_space(char32_t c);

// Letters, marks, digits, connectors and joiners: what `\w` means in Unicode's regular expressions.
[[nodiscard]] bool is_word_char(char32_t c);

}  // namespace lychee::text
