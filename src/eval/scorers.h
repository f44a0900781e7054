#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lychee::eval {

// True when the text begins with the digits of `number`, white space before and between them aside,
// and no further digit follows directly.
[[nodiscard]] bool number_is_right(std::string_view text, std::string_view number);

// The share of the words of `wanted` whose tokens are all those of `said`, place by place; what
// `said` lacks is wrong. `decode` tells where words begin. Needs a token.
[[nodiscard]] double share_of_words(
    std::span<const int32_t> said, std::span<const int32_t> wanted,
    const std::function<std::string(std::span<const int32_t>)>& decode);

// RULER's string matches: the share of `references` that the text holds, case aside, or 1 when it
// holds one. White space and control characters at the text's ends are dropped before, other
// control characters count as line ends. Needs a reference.
[[nodiscard]] double match_all(std::string_view text, const std::vector<std::string>& references);
[[nodiscard]] double match_any(std::string_view text, const std::vector<std::string>& references);

}  // namespace lychee::eval
