#pragma once

#include "samples/ruler.h"

namespace lychee::samples {

// Variable tracking: a chain of assignments in filler; every variable of the chain.
[[nodiscard]] RulerSample make_variable_tracking(const RulerInputs& inputs, int64_t length,
                                                 uint64_t seed);
// Common words: a numbered list in which ten words come more often than all others. Below 4096
// tokens they come 6 times and the others once, else 30 times and 3 times.
[[nodiscard]] RulerSample make_common_words(const RulerInputs& inputs, int64_t length,
                                            uint64_t seed);
// Frequent words: made-up words whose counts fall with the square of their rank; ranks 1 to 3.
[[nodiscard]] RulerSample make_frequent_words(const RulerInputs& inputs, int64_t length,
                                              uint64_t seed);
// A question whose answer is in one (or two) of many documents.
[[nodiscard]] RulerSample make_qa(const RulerInputs& inputs, int64_t length, uint64_t seed);

}  // namespace lychee::samples
