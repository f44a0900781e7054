#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/head_plan/head_plan_spec.h"
#include "io/model_files.h"
#include "lychee/head_plan.h"

namespace lychee::io {

// Parameters of the built-in model: an induction circuit in a Llama-shaped network whose weights
// are written down rather than trained (docs/builtin-needle.md).
struct NeedleSpec {
  int layers = 6;       // 4 … 64
  int kv_heads = 4;     // 2 … 32
  int layer = 3;        // of the retrieval head that the circuit needs; 2 … layers - 2
  int head = 1;         // its KV head; 0 … kv_heads - 1
  int distractors = 2;  // heads that look for the current token and help nobody
  int group = 1;        // query heads per KV head; 1 … 8

  [[nodiscard]] int max_distractors() const { return (layers - 1) * kv_heads - 4; }
};

// True for `builtin:needle` and `builtin:needle?…`, and for any other name that begins with
// `builtin:`, so that a misspelt one is reported as such.
[[nodiscard]] bool is_builtin_model(std::string_view model);

// Reads `builtin:needle[?layers=6&kv_heads=4&layer=3&head=1&distractors=2&group=1]`. Throws
// Error(kInvalidArgument) naming the value and its limits.
[[nodiscard]] NeedleSpec parse_needle_spec(std::string_view model);

// The model, built in memory in milliseconds; the same bytes for the same spec.
[[nodiscard]] ModelFiles make_builtin_needle(std::string_view model);

// The plan that the circuit needs: layer 0 and (layer, head), nothing else.
[[nodiscard]] HeadPlan builtin_needle_plan(std::string_view model);
// The same number of retrieval heads with the circuit's moved to the next KV head of its layer: no
// token set that reaches the circuit holds the needle, so decoding fails once kv_len is well above
// the budget.
[[nodiscard]] HeadPlan builtin_needle_swapped_plan(std::string_view model);

// Both, for resolve_head_plan; empty for a model that is not built in.
[[nodiscard]] BuiltinPlans builtin_plans(std::string_view model);

// Words by token id; the model knows no others. Ids 0 and 1 are <unk> and </s>.
[[nodiscard]] std::span<const std::string_view> builtin_needle_vocabulary();

// Where the parts of the circuit are: (layer, KV head). They overlap nowhere.
struct NeedleHeads {
  std::pair<int, int> previous;       // layer 0: copies token i - 1
  std::pair<int, int> previous_two;   // layer 1: copies tokens i - 2, i - 3
  std::pair<int, int> previous_four;  // layer 1: copies tokens i - 4, i - 5
  std::pair<int, int> retrieval;      // finds the place, fetches half of the answer's code
  std::pair<int, int> copy;           // next layer, same KV head: fetches the other half
  std::vector<std::pair<int, int>> distractors;
};
[[nodiscard]] NeedleHeads locate_needle_heads(const NeedleSpec& spec);

}  // namespace lychee::io
