#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lychee/selection.h"

namespace lychee {

// What a KV head does in a decode step (algorithm.md, section 2).
enum class HeadRole : uint8_t {
  kSparse = 0,     // reads the token set inherited from the same head in an earlier layer
  kRetrieval = 1,  // dense; its scores choose the next token set
};

// The table of roles, one per (layer, KV head); all query heads of a group share it. Layer 0 is all
// retrieval. Plain data with value semantics.
class HeadPlan {
 public:
  HeadPlan() = default;
  // All sparse but layer 0.
  HeadPlan(int num_layers, int num_kv_heads);

  // `num_retrieval` heads in all, layer 0's included, spread evenly: entries floor((2i+1)·M/(2R))
  // of layers 1… counted head by head, layer fastest, with M = (L-1)·H_kv and R = num_retrieval -
  // H_kv. Throws Error(kInvalidArgument) unless H_kv <= num_retrieval <= L·H_kv.
  [[nodiscard]] static HeadPlan uniform(int num_layers, int num_kv_heads, int num_retrieval);
  // The same number at positions drawn without replacement by a fixed generator.
  [[nodiscard]] static HeadPlan random(int num_layers, int num_kv_heads, int num_retrieval,
                                       uint64_t seed);

  [[nodiscard]] int num_layers() const { return num_layers_; }
  [[nodiscard]] int num_kv_heads() const { return num_kv_heads_; }
  [[nodiscard]] HeadRole role(int layer, int kv_head) const;
  void set_role(int layer, int kv_head, HeadRole role);
  [[nodiscard]] int num_retrieval() const;
  [[nodiscard]] bool empty() const { return roles_.empty(); }

  // Where it came from, for people: a folder, "uniform:32", "builtin".
  std::string name;
  // Decoding defaults that came with the plan; the command line overrides them.
  std::optional<Selection> selection;
  int cache_correction = 0;

  friend bool operator==(const HeadPlan& a, const HeadPlan& b) {
    return a.num_layers_ == b.num_layers_ && a.num_kv_heads_ == b.num_kv_heads_ &&
           a.roles_ == b.roles_;
  }

 private:
  int num_layers_ = 0;
  int num_kv_heads_ = 0;
  std::vector<HeadRole> roles_;  // [num_layers, num_kv_heads]
};

// The model a plan is for, as far as a plan can be checked against it.
struct HeadPlanShape {
  int num_layers = 0;
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
};

// Reads a plan folder (lychee_config.json, head_roles.tsv, format version 1). Throws
// Error(kInvalidArgument) that names the file and the reason: unknown version, another shape, a
// wrong count or checksum, a sparse head in layer 0.
[[nodiscard]] HeadPlan load_head_plan(const std::filesystem::path& folder,
                                      const HeadPlanShape& shape);

// Writes a plan folder; files are written to temporary names and renamed. `base_model` and
// `rounding_rule` go into lychee_config.json as they are.
void save_head_plan(const HeadPlan& plan, const std::filesystem::path& folder,
                    const HeadPlanShape& shape, std::string_view base_model,
                    std::string_view rounding_rule);

}  // namespace lychee
