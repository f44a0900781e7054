#include "io/head_plan/head_plan_duo.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/check.h"
#include "base/text_file.h"

namespace lychee::io {
namespace {

namespace fs = std::filesystem;

using Entries = std::vector<size_t>;  // indices into a table's values

Entries entries_above(const HeadTable& table, double threshold) {
  Entries chosen;
  for (size_t i = 0; i < table.values.size(); ++i) {
    // In single precision on both sides, as the scores are stored.
    if (table.values[i] >= static_cast<float>(threshold)) {
      chosen.push_back(i);
    }
  }
  return chosen;
}

// The best `count` entries of layers `first_layer`….
Entries best_entries(const HeadTable& table, int first_layer, int count) {
  const size_t begin = static_cast<size_t>(first_layer) * static_cast<size_t>(table.num_kv_heads);
  Entries entries(table.values.size() - begin);
  std::iota(entries.begin(), entries.end(), begin);
  std::ranges::stable_sort(entries,
                           [&](size_t a, size_t b) { return table.values[a] > table.values[b]; });
  entries.resize(static_cast<size_t>(count));
  return entries;
}

int missing_in_first_layer(const HeadTable& table, const Entries& chosen) {
  const auto present = std::ranges::count_if(
      chosen, [&](size_t i) { return i < static_cast<size_t>(table.num_kv_heads); });
  return table.num_kv_heads - static_cast<int>(present);
}

void set_retrieval(const Entries& entries, HeadPlan& plan) {
  const auto columns = static_cast<size_t>(plan.num_kv_heads());
  for (const size_t i : entries) {
    plan.set_role(static_cast<int>(i / columns), static_cast<int>(i % columns),
                  HeadRole::kRetrieval);
  }
}

}  // namespace

DuoImport import_duo(const fs::path& path, const DuoRule& rule) {
  require(rule.threshold.has_value() != rule.num_retrieval.has_value(), ErrorCode::kInvalidArgument,
          "a DuoAttention import needs either a threshold or a number of retrieval heads");
  std::error_code error;
  const fs::path file = fs::is_directory(path, error) ? path / "full_attention_heads.tsv" : path;
  HeadTable table = parse_head_table(read_text_file(file), file.string());
  DuoImport result;
  HeadPlan plan(table.num_layers, table.num_kv_heads);
  if (rule.threshold) {
    const Entries chosen = entries_above(table, *rule.threshold);
    result.first_layer_set = missing_in_first_layer(table, chosen);
    set_retrieval(chosen, plan);
  } else {
    const int count = *rule.num_retrieval;
    require(count >= table.num_kv_heads && static_cast<size_t>(count) <= table.values.size(),
            ErrorCode::kInvalidArgument, file.string(), ": ", count, " retrieval heads: between ",
            table.num_kv_heads, " (layer 0 is all retrieval) and ", table.values.size(),
            " are possible");
    result.first_layer_set = missing_in_first_layer(table, best_entries(table, 0, count));
    set_retrieval(best_entries(table, 1, count - table.num_kv_heads), plan);
  }
  plan.name = path.string();
  result.files.shape = {table.num_layers, 0, table.num_kv_heads, 0};
  result.files.plan = std::move(plan);
  result.files.rounding_rule = "imported";
  result.files.scores = std::move(table.values);
  return result;
}

}  // namespace lychee::io
