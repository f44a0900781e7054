#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lychee::text {

// GPT-2's alphabet: every byte is spelt as one printable character, so that vocabularies of byte
// strings can be stored as text.
void append_spelling(uint8_t byte, std::string& out);
[[nodiscard]] std::string spell_bytes(std::string_view bytes);

// The bytes that `text` spells, or nothing when a character of it is outside the alphabet. `text`
// must be valid UTF-8.
[[nodiscard]] std::optional<std::string> unspell_bytes(std::string_view text);

}  // namespace lychee::text
