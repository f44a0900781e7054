#include "text/lower_case.h"

#include <utf8proc.h>

#include <algorithm>

namespace lychee::text {
namespace {

constexpr char32_t kCapitalSigma = U'\u03a3';
constexpr char32_t kSigma = U'\u03c3';
constexpr char32_t kFinalSigma = U'\u03c2';
constexpr char32_t kCapitalDottedI = U'\u0130';

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_cased(char32_t c) {
  const utf8proc_category_t category = category_of(c);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

// What may stand inside a word without being a letter of it: marks, modifiers, apostrophes, points.
bool is_passed_over(char32_t c) {
  constexpr std::u32string_view kInsideWords =
      U"'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027";
  switch (category_of(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return kInsideWords.find(c) != std::u32string_view::npos;
  }
}

// Whether the sigma at `at` has a letter before it and none after it.
bool ends_word(std::u32string_view text, size_t at) {
  const auto before = std::find_if_not(
      text.rbegin() + static_cast<std::ptrdiff_t>(text.size() - at), text.rend(), is_passed_over);
  if (before == text.rend() || !is_cased(*before)) {
    return false;
  }
  const auto after = std::find_if_not(text.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                      text.end(), is_passed_over);
  return after == text.end() || !is_cased(*after);
}

}  // namespace

std::u32string to_lower_case(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kCapitalSigma) {
      result += ends_word(text, i) ? kFinalSigma : kSigma;
    } else if (text[i] == kCapitalDottedI) {
      result += U"i\u0307";
    } else {
      result += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(text[i])));
    }
  }
  return result;
}

}  // namespace lychee::text
