#pragma once

#include <cstdint>

#include "samples/book.h"
#include "samples/sample.h"

namespace lychee::samples {

struct PhraseOptions {
  int phrases = 10;  // at most 20
  int words = 32;    // of a phrase, all different
};

// Phrases of random words between the sentences of `book`, which begins at a random place, at
// random depths from 5 % to 95 %; a question for each, in the order of the text. At most `length`
// tokens: the context, the longest question and its answer. The same arguments give the same
// sample. Throws Error(kInvalidArgument) when `length` is too short or the options are out of
// range.
[[nodiscard]] Sample make_phrase(const Encoder& encode, const Book& book, int64_t length,
                                 uint64_t seed, const PhraseOptions& options = {});

}  // namespace lychee::samples
