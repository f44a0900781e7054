#pragma once

#include <cctype>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lychee::samples {

// A token per word, digit or punctuation mark, after a leading one. Ids tell the first characters.
inline std::vector<int32_t> encode_words(std::string_view text) {
  std::vector<int32_t> ids{0};
  bool in_word = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = std::isalpha(byte) != 0;
    if ((letter && !in_word) || (!letter && std::isspace(byte) == 0)) {
      ids.push_back(byte);
    }
    in_word = letter;
  }
  return ids;
}

inline std::vector<int32_t> encode_bytes(std::string_view text) {
  return {text.begin(), text.end()};
}

}  // namespace lychee::samples
