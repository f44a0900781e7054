#include <utility>

#include "io/needle/builtin_needle.h"

namespace lychee::io {
namespace {

HeadPlan one_retrieval_head(const NeedleSpec& spec, int layer, int head, std::string name) {
  HeadPlan plan(spec.layers, spec.kv_heads);
  plan.set_role(layer, head, HeadRole::kRetrieval);
  plan.name = std::move(name);
  return plan;
}

}  // namespace

HeadPlan builtin_needle_plan(std::string_view model) {
  const NeedleSpec spec = parse_needle_spec(model);
  return one_retrieval_head(spec, spec.layer, spec.head, "builtin");
}

HeadPlan builtin_needle_swapped_plan(std::string_view model) {
  const NeedleSpec spec = parse_needle_spec(model);
  return one_retrieval_head(spec, spec.layer, (spec.head + 1) % spec.kv_heads, "builtin:swapped");
}

BuiltinPlans builtin_plans(std::string_view model) {
  if (!is_builtin_model(model)) {
    return {};
  }
  return {builtin_needle_plan(model), builtin_needle_swapped_plan(model)};
}

}  // namespace lychee::io
