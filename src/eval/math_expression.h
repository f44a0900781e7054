#pragma once

#include <complex>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lychee::eval {

// The value of an expression in LaTeX or plain notation: numbers, + - * / ^ !, \frac, \sqrt, \pi,
// e, i, \infty, brackets, |…|, elementary functions, and letters, which stand for numbers that
// depend on the letter and on `round` alone. nullopt for anything else.
[[nodiscard]] std::optional<std::complex<double>> evaluate(std::string_view expression,
                                                           uint64_t round);

}  // namespace lychee::eval
