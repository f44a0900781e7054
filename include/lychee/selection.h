#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lychee {

// How a retrieval head's scores become a token set (algorithm.md, section 2, «select»).
enum class SelectMode : uint8_t { kTopK, kBlock, kRatio, kMass, kThreshold };

struct Selection {
  SelectMode mode = SelectMode::kTopK;
  int budget = 4096;     // k: tokens a sparse head reads, forced ones included; kRatio: ignored
  int sink = 128;        // first positions, always in the set
  int recent = 256;      // last positions, the current one included; at least 1
  double ratio = 0.1;    // kRatio: k = max(sink + recent, ceil(ratio · n))
  double mass = 0.95;    // kMass: softmax mass to reach
  double threshold = 0;  // kThreshold: softmax probability to reach

  static constexpr int kBlockSize = 64;  // kBlock

  friend bool operator==(const Selection&, const Selection&) = default;
};

[[nodiscard]] std::string_view select_mode_name(SelectMode mode);
[[nodiscard]] std::optional<SelectMode> parse_select_mode(std::string_view name);

// Throws Error(kInvalidArgument) for a combination that algorithm.md rules out, naming the value
// and the limit.
void validate(const Selection& selection);

// The budget k at kv_len = n: `budget`, or for kRatio what the ratio gives.
[[nodiscard]] int64_t effective_budget(const Selection& selection, int64_t kv_len);

// The most ids a set can hold for any kv_len up to `max_kv_len`.
[[nodiscard]] int64_t max_selected(const Selection& selection, int64_t max_kv_len);

}  // namespace lychee
