#pragma once

#include <string_view>

namespace lychee::eval {

// Twice the matched characters by all characters, matched as Python's difflib does (Ratcliff and
// Obershelp: the longest common block, then what lies on either side of it). Characters that make
// up more than a hundredth of a `b` of 200 or more begin no block.
[[nodiscard]] double match_ratio(std::u32string_view a, std::u32string_view b);

}  // namespace lychee::eval
