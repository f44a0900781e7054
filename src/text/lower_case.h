#pragma once

#include <string>
#include <string_view>

namespace lychee::text {

// Lower case of whole texts as Python's str.lower() has it: Unicode's full mapping, a capital sigma
// that ends a word included.
[[nodiscard]] std::u32string to_lower_case(std::u32string_view text);

}  // namespace lychee::text
