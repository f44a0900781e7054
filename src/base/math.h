#pragma once

#include <concepts>
#include <limits>

namespace lychee {

template <std::integral T>
constexpr T ceil_div(T a, T b) {
  return static_cast<T>((a + b - 1) / b);
}

template <std::integral T>
constexpr T round_up(T a, T multiple) {
  return static_cast<T>(ceil_div(a, multiple) * multiple);
}

// a * b or a + b into `out`; false on overflow. For sizes that come from a file.
template <std::integral T>
[[nodiscard]] constexpr bool checked_mul(T a, T b, T& out) {
  return !__builtin_mul_overflow(a, b, &out);
}
template <std::integral T>
[[nodiscard]] constexpr bool checked_add(T a, T b, T& out) {
  return !__builtin_add_overflow(a, b, &out);
}

}  // namespace lychee
