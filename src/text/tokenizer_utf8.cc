#include "text/tokenizer_utf8.h"

#include <utf8proc.h>

#include <cstring>

namespace lychee::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

size_t first_invalid(std::string_view text) {
  size_t pos = skip_ascii(text, 0);
  while (pos < text.size()) {
    const Utf8Char c = first_char(text.substr(pos));
    if (c.status != Utf8Status::kValid) {
      return pos;
    }
    pos = skip_ascii(text, pos + c.length);
  }
  return pos;
}

}  // namespace

size_t skip_ascii(std::string_view text, size_t pos) {
  while (pos + 8 <= text.size()) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + pos, 8);
    if ((word & 0x8080808080808080U) != 0) {
      break;
    }
    pos += 8;
  }
  while (pos < text.size() && static_cast<unsigned char>(text[pos]) < 0x80) {
    ++pos;
  }
  return pos;
}

Utf8Char first_char(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) {
    return {Utf8Status::kValid, 1};
  }
  if (lead < 0xc2 || lead > 0xf4) {
    return {Utf8Status::kInvalid, 1};
  }
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  const size_t length = char_length(text[0]);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) {
      return {Utf8Status::kIncomplete, i};
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    if (i == 1 ? (byte < low || byte > high) : !is_continuation(text[i])) {
      return {Utf8Status::kInvalid, i};
    }
  }
  return {Utf8Status::kValid, length};
}

bool is_ascii(std::string_view text) {
  return skip_ascii(text, 0) == text.size();
}

size_t append_valid_utf8(std::string_view text, bool keep_incomplete, std::string& out) {
  size_t pos = 0;
  while (pos < text.size()) {
    const size_t valid = first_invalid(text.substr(pos));
    out.append(text, pos, valid);
    pos += valid;
    if (pos == text.size()) {
      break;
    }
    const Utf8Char c = first_char(text.substr(pos));
    if (keep_incomplete && c.status == Utf8Status::kIncomplete) {
      break;
    }
    out += kReplacement;
    pos += c.length;
  }
  return pos;
}

std::string_view valid_utf8(std::string_view text, std::string& storage) {
  if (first_invalid(text) == text.size()) {
    return text;
  }
  storage.clear();
  append_valid_utf8(text, false, storage);
  return storage;
}

char32_t first_code_point(std::string_view text) {
  const size_t length = char_length(text[0]);
  if (length == 1) {
    return static_cast<unsigned char>(text[0]);
  }
  char32_t c = static_cast<unsigned char>(text[0]) & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) {
    c = (c << 6U) | (static_cast<unsigned char>(text[i]) & 0x3fU);
  }
  return c;
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

bool is_word_char(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      // Zero-width joiners, and the circled letters, which are alphabetic symbols.
      return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9);
  }
}

}  // namespace lychee::text
