#include "eval/scorers.h"

#include <algorithm>
#include <string>
#include <vector>

#include "eval/unicode.h"
#include "text/lower_case.h"

namespace lychee::eval {
namespace {

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

double share_of_words(std::span<const int32_t> said, std::span<const int32_t> wanted,
                      const std::function<std::string(std::span<const int32_t>)>& decode) {
  double words = 0;
  double right = 0;
  bool all_right = true;
  size_t end = 0;  // of the text before the token
  for (size_t i = 0; i < wanted.size(); ++i) {
    // Some tokenizers show a token's space only after another token.
    const std::string text = decode(wanted.first(i + 1));
    if (i > 0 && text.size() > end && text[end] == ' ') {
      ++words;
      right += all_right ? 1 : 0;
      all_right = true;
    }
    all_right = all_right && i < said.size() && said[i] == wanted[i];
    end = text.size();
  }
  return (right + (all_right ? 1 : 0)) / (words + 1);
}

double match_all(std::string_view text, const std::vector<std::string>& references) {
  return count_matches(text, references) / static_cast<double>(references.size());
}

double match_any(std::string_view text, const std::vector<std::string>& references) {
  return count_matches(text, references) > 0 ? 1 : 0;
}

}  // namespace lychee::eval
