#include "eval/scorers.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace lychee::eval {
namespace {

std::vector<std::string> letters_of_words(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || byte >= 0x80) {
      words.back() += static_cast<char>(std::tolower(byte));
    } else if (!words.back().empty() && std::isspace(byte) != 0) {
      words.emplace_back();
    }
  }
  return words;
}

}  // namespace

bool number_is_right(std::string_view text, std::string_view number) {
  constexpr std::string_view kSpace = " \t\r\n";
  for (const char digit : number) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty() || text.front() != digit) {
      return false;
    }
    text.remove_prefix(1);
  }
  return text.empty() || text.front() < '0' || text.front() > '9';
}

double share_of_words(std::string_view text, std::string_view phrase) {
  const std::vector<std::string> said = letters_of_words(text);
  const std::vector<std::string> wanted = letters_of_words(phrase);
  double right = 0;
  for (size_t i = 0; i < std::min(said.size(), wanted.size()); ++i) {
    right += said[i] == wanted[i] ? 1 : 0;
  }
  return right / static_cast<double>(wanted.size());
}

}  // namespace lychee::eval
