#include "eval/scorers.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "eval/unicode.h"
#include "text/lower_case.h"

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

// What RULER makes of an answer before it looks for references: no white space or control
// characters at its ends, and line ends for those within.
std::u32string clean_answer(std::string_view text) {
  const auto is_nothing = [](char32_t c) { return c < U' ' || is_space(c); };
  std::u32string clean = to_code_points(text);
  clean.erase(std::find_if_not(clean.rbegin(), clean.rend(), is_nothing).base(), clean.end());
  clean.erase(clean.begin(), std::find_if_not(clean.begin(), clean.end(), is_nothing));
  std::replace_if(
      clean.begin(), clean.end(), [](char32_t c) { return c < U' '; }, U'\n');
  return text::to_lower_case(clean);
}

double count_matches(std::string_view text, const std::vector<std::string>& references) {
  const std::u32string said = clean_answer(text);
  return static_cast<double>(
      std::count_if(references.begin(), references.end(), [&](const std::string& reference) {
        return said.find(text::to_lower_case(to_code_points(reference))) != std::u32string::npos;
      }));
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

double match_all(std::string_view text, const std::vector<std::string>& references) {
  return count_matches(text, references) / static_cast<double>(references.size());
}

double match_any(std::string_view text, const std::vector<std::string>& references) {
  return count_matches(text, references) > 0 ? 1 : 0;
}

}  // namespace lychee::eval
