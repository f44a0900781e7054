#include <filesystem>
#include <memory>

#include "cli/common_options.h"
#include "io/head_plan/head_plan_spec.h"
#include "io/head_plan/shipped_plan.h"
#include "io/needle/builtin_needle.h"

namespace lychee::cli {

std::shared_ptr<const HeadPlan> resolve_head_plan(const std::optional<std::string>& spec,
                                                  const std::string& model_spec,
                                                  const ModelInfo& model) {
  const bool builtin = io::is_builtin_model(model_spec);
  std::string text = spec.value_or("builtin");
  if (!spec && !builtin) {
    const auto shipped = io::find_shipped_plan(model_spec, io::program_folder());
    if (!shipped) {
      return nullptr;
    }
    text = shipped->string();
  }
  auto plan = std::make_shared<HeadPlan>(
      io::resolve_head_plan(io::parse_head_plan_spec(text), model.plan_shape(),
                            builtin ? io::builtin_plans(model_spec) : io::BuiltinPlans{}));
  plan->name = text;
  return plan;
}

}  // namespace lychee::cli
