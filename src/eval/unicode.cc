#include "eval/unicode.h"

#include <cstddef>

namespace lychee::eval {
namespace {

// The length of the character that `byte` begins, or 0.
size_t length_of(unsigned char byte) {
  return byte < 0x80 ? 1 : byte >> 5 == 6 ? 2 : byte >> 4 == 14 ? 3 : byte >> 3 == 30 ? 4 : 0;
}

}  // namespace

std::u32string to_code_points(std::string_view text) {
  std::u32string points;
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const size_t size = length_of(first);
    char32_t point = size <= 1 ? first : first & (0x7F >> size);
    bool whole = size > 0 && i + size <= text.size();
    for (size_t k = 1; whole && k < size; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      whole = byte >> 6 == 2;
      point = point << 6 | (byte & 0x3FU);
    }
    points += whole ? point : U'\uFFFD';
    i += whole ? size : 1;
  }
  return points;
}

std::string to_utf8(std::u32string_view text) {
  std::string bytes;
  for (const char32_t c : text) {
    if (c < 0x80) {
      bytes += static_cast<char>(c);
      continue;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    const char32_t mark = more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0;
    bytes += static_cast<char>(mark | c >> (6 * more));
    for (int k = more - 1; k >= 0; --k) {
      bytes += static_cast<char>(0x80 | (c >> (6 * k) & 0x3F));
    }
  }
  return bytes;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace lychee::eval
