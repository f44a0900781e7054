#pragma once

#include "samples/ruler.h"

namespace lychee::samples {

// Needles in a haystack: values of keys, in filler, a book, or among other keys.
[[nodiscard]] RulerSample make_niah_single_1(const RulerInputs& inputs, int64_t length,
                                             uint64_t seed);
[[nodiscard]] RulerSample make_niah_single_2(const RulerInputs& inputs, int64_t length,
                                             uint64_t seed);
[[nodiscard]] RulerSample make_niah_single_3(const RulerInputs& inputs, int64_t length,
                                             uint64_t seed);
[[nodiscard]] RulerSample make_niah_multikey_1(const RulerInputs& inputs, int64_t length,
                                               uint64_t seed);
[[nodiscard]] RulerSample make_niah_multikey_2(const RulerInputs& inputs, int64_t length,
                                               uint64_t seed);
[[nodiscard]] RulerSample make_niah_multikey_3(const RulerInputs& inputs, int64_t length,
                                               uint64_t seed);
[[nodiscard]] RulerSample make_niah_multivalue(const RulerInputs& inputs, int64_t length,
                                               uint64_t seed);
[[nodiscard]] RulerSample make_niah_multiquery(const RulerInputs& inputs, int64_t length,
                                               uint64_t seed);

}  // namespace lychee::samples
