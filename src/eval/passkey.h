#pragma once

#include <cstdint>
#include <string_view>

#include "eval/sample.h"

namespace lychee::eval {

// A 5-digit pass key in repeated filler sentences. The prompt and the answer together have at most
// `length` tokens, and as many as whole sentences allow. `depth` in [0, 1] is the share of the
// filler that stands before the key. The same arguments give the same sample. Throws
// Error(kInvalidArgument) when `length` cannot hold the prompt without filler.
[[nodiscard]] Sample make_passkey(const Encoder& encode, int64_t length, double depth,
                                  uint64_t seed);

// True when the text begins with the digits of `key`, white space before and between them aside,
// and no further digit follows directly.
[[nodiscard]] bool passkey_is_right(std::string_view text, std::string_view key);

}  // namespace lychee::eval
