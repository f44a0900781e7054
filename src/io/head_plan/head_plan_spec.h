#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lychee/head_plan.h"

namespace lychee::io {

// A head plan as users name it: `uniform:N`, `random:N:SEED`, `builtin`, `builtin:swapped`, or a
// plan folder.
struct HeadPlanSpec {
  enum class Kind { kUniform, kRandom, kFolder, kBuiltin, kBuiltinSwapped };
  Kind kind = Kind::kFolder;
  int num_retrieval = 0;  // kUniform, kRandom
  uint64_t seed = 0;      // kRandom
  std::filesystem::path folder;
};

// Throws Error(kInvalidArgument) for a known word with a bad number, or an empty text. Whatever is
// none of the words is a folder, whether it exists or not.
[[nodiscard]] HeadPlanSpec parse_head_plan_spec(const std::string& text);

// The plans that a model brings with it; empty ones where it brings none.
struct BuiltinPlans {
  HeadPlan plan;
  HeadPlan swapped;
};

// The plan that a specification means for a model of this shape. Throws Error(kInvalidArgument)
// when the count or the folder's plan does not fit, or the model has no plan of its own.
[[nodiscard]] HeadPlan resolve_head_plan(const HeadPlanSpec& spec, const HeadPlanShape& shape,
                                         const BuiltinPlans& builtin = {});

}  // namespace lychee::io
