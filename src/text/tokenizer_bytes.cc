#include "text/tokenizer_bytes.h"

#include <array>

#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

constexpr bool spells_itself(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

// Bytes that do not spell themselves take the code points from U+0100 on, in order.
constexpr std::array<uint16_t, 256> kSpellings = [] {
  std::array<uint16_t, 256> spellings{};
  uint16_t next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    spellings[byte] = spells_itself(byte) ? static_cast<uint16_t>(byte) : next++;
  }
  return spellings;
}();

constexpr int kAlphabetEnd = 324;  // one past the last code point used

constexpr std::array<int16_t, kAlphabetEnd> kBytes = [] {
  std::array<int16_t, kAlphabetEnd> bytes{};
  bytes.fill(-1);
  for (unsigned byte = 0; byte < 256; ++byte) {
    bytes[kSpellings[byte]] = static_cast<int16_t>(byte);
  }
  return bytes;
}();

}  // namespace

void append_spelling(uint8_t byte, std::string& out) {
  const unsigned c = kSpellings[byte];
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else {
    out += static_cast<char>(0xc0U | (c >> 6U));
    out += static_cast<char>(0x80U | (c & 0x3fU));
  }
}

std::string spell_bytes(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    append_spelling(static_cast<uint8_t>(byte), text);
  }
  return text;
}

std::optional<std::string> unspell_bytes(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t pos = 0; pos < text.size(); pos += char_length(text[pos])) {
    const char32_t c = first_code_point(text.substr(pos));
    if (c >= kAlphabetEnd || kBytes[c] < 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(kBytes[c]);
  }
  return bytes;
}

}  // namespace lychee::text
