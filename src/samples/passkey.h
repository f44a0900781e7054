#pragma once

#include <cstdint>

#include "samples/sample.h"

namespace lychee::samples {

// A 5-digit pass key in repeated filler sentences. The sample has at most `length` tokens, the
// answer's included, and as many as whole sentences allow. `depth` in [0, 1] is the share of the
// filler that stands before the key. The same arguments give the same sample. Throws
// Error(kInvalidArgument) when `length` cannot hold the prompt without filler.
[[nodiscard]] Sample make_passkey(const Encoder& encode, int64_t length, double depth,
                                  uint64_t seed);

}  // namespace lychee::samples
