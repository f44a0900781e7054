#pragma once

#include <cstdint>

namespace lychee::text::jinja {

// What an untrusted template may cost. Exceeding one throws Error(kInvalidArgument).
struct Limits {
  int64_t steps = 20'000'000;                 // expressions, statements and sequence items visited
  int64_t produced_bytes = int64_t{1} << 29;  // of all strings made on the way
  int64_t output_bytes = int64_t{1} << 26;    // of the result
  int call_depth = 400;                       // nested expressions, blocks and macro calls together
};

inline constexpr int kMaxSyntaxDepth = 120;  // nesting in the source
inline constexpr int kMaxValueDepth = 120;   // lists in lists; bounds every recursion over values
// Bytes of a value written out: `[x, x]`, repeated, grows exponentially while it shares its parts.
inline constexpr int64_t kMaxValueWeight = int64_t{1} << 26;
inline constexpr int64_t kMaxRange = 100'000;  // items of range(), as in Jinja's sandbox

}  // namespace lychee::text::jinja
