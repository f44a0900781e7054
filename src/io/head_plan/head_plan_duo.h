#pragma once

#include <filesystem>
#include <optional>

#include "io/head_plan/head_plan_files.h"

namespace lychee::io {

// Which of DuoAttention's scores make a retrieval head: give one of the two.
struct DuoRule {
  std::optional<double> threshold;   // score >= threshold
  std::optional<int> num_retrieval;  // this many in all, layer 0's included; ties to the lower
                                     // (layer, head)
};

struct DuoImport {
  HeadPlanFiles files;  // plan and scores; rounding_rule "imported"
  int first_layer_set =
      0;  // heads of layer 0 that the rule left sparse, made retrieval all the same
};

// Reads full_attention_heads.tsv, or the folder that holds it. DuoAttention itself adds unseeded
// noise before it rounds; this does not, so the same file gives the same plan. Throws
// Error(kInvalidArgument).
[[nodiscard]] DuoImport import_duo(const std::filesystem::path& path, const DuoRule& rule);

}  // namespace lychee::io
