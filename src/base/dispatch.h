#pragma once

#include <type_traits>
#include <utility>

namespace lychee {

// Turns a run-time int into a compile-time one: calls `fn(std::integral_constant<int, v>{})` for
// the listed `v` that equals `value`. Returns false when none does, so that the caller can name the
// limit it hit.
template <int... kValues, typename Fn>
[[nodiscard]] bool dispatch_int(int value, std::integer_sequence<int, kValues...> /*values*/,
                                Fn&& fn) {
  return ((value == kValues && (fn(std::integral_constant<int, kValues>{}), true)) || ...);
}

}  // namespace lychee
