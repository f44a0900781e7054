#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace lychee::cli {

// What CLI11's own checks let through: NaN in any range, integers beyond 64 bits (clipped),
// negative numbers for unsigned options (wrapped), hexadecimal and octal by accident.

// A whole decimal number within [low, high].
[[nodiscard]] CLI::Validator whole_number(int64_t low = 0,
                                          int64_t high = std::numeric_limits<int32_t>::max());
// Any unsigned number of 64 bits.
[[nodiscard]] CLI::Validator seed_number();
// A finite number within [low, high].
[[nodiscard]] CLI::Validator number_between(double low, double high);
// A finite number of at least, or above, `low`.
[[nodiscard]] CLI::Validator number_at_least(double low);
[[nodiscard]] CLI::Validator number_above(double low);

}  // namespace lychee::cli
