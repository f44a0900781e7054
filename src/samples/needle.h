#pragma once

#include <cstdint>

#include "samples/book.h"
#include "samples/sample.h"

namespace lychee::samples {

// A 7-digit number for a key of two words, in the sentences of `book` from a random place on, or in
// filler when it is null (RULER's niah_single). At most `length` tokens, the answer's included.
// `depth` in [0, 1] is the share of the text that stands before the number. The same arguments give
// the same sample. Throws Error(kInvalidArgument) when `length` is too short.
[[nodiscard]] Sample make_needle(const Encoder& encode, const Book* book, int64_t length,
                                 double depth, uint64_t seed);

}  // namespace lychee::samples
