#include "eval/scorers.h"

#include <algorithm>

namespace lychee::eval {

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

}  // namespace lychee::eval
