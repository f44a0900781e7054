#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lychee/head_plan.h"

namespace lychee::io {

// A plan folder as it lies on disk: the plan, and what a trainer left beside it.
struct HeadPlanFiles {
  HeadPlan plan;
  HeadPlanShape shape;        // of the base model; 0 where lychee_config.json does not say
  std::string base_model;     // name of the model it is for; may be empty
  std::string model_type;     // "llama"; may be empty
  std::string rounding_rule;  // how roles were decided; may be empty
  // Optional, all [num_layers, num_kv_heads]: head_scores.tsv, and the gates' state in
  // head_params.safetensors (kuma.alpha, kuma.beta).
  std::vector<float> scores;
  std::vector<float> kuma_alpha;
  std::vector<float> kuma_beta;
  std::string training;  // the recipe, a JSON object; may be empty. Written, not read
};

// Reads a plan folder of format version 1 and checks it against itself. Throws
// Error(kInvalidArgument) that names file and reason, Error(kUnsupported) for another version or
// selection rule.
[[nodiscard]] HeadPlanFiles read_head_plan_folder(const std::filesystem::path& folder);

// Throws Error(kInvalidArgument), naming both values, unless the plan fits the model. A 0 in
// either shape is not compared.
void check_head_plan_shape(const HeadPlanFiles& files, const HeadPlanShape& model,
                           const std::string& plan_name);

// head_roles.tsv of a plan; its SHA-256 stands in lychee_config.json.
[[nodiscard]] std::string format_roles(const HeadPlan& plan);

// Writes lychee_config.json, head_roles.tsv and, where there are scores and parameters,
// head_scores.tsv and head_params.safetensors: each to a temporary name, renamed when whole, the
// configuration last. Throws Error(kIo).
void write_head_plan_folder(const HeadPlanFiles& files, const std::filesystem::path& folder);

// A table of numbers, one row per line, values separated by tabs or spaces.
struct HeadTable {
  int num_layers = 0;
  int num_kv_heads = 0;
  std::vector<float> values;  // [num_layers, num_kv_heads]
};

// Throws Error(kInvalidArgument) for an empty table, ragged rows, or what is no finite number.
[[nodiscard]] HeadTable parse_head_table(std::string_view text, const std::string& file_name);

}  // namespace lychee::io
