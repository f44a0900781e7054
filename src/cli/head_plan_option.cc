#include <charconv>
#include <memory>

#include "base/check.h"
#include "cli/common_options.h"

namespace lychee::cli {

namespace {

// The integers of "name:a" or "name:a:b".
template <typename T>
T parse_number(std::string_view text, const std::string& spec, const char* form) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc() && end == text.data() + text.size(), ErrorCode::kInvalidArgument,
          "--heads ", spec, ": expected ", form);
  return value;
}

HeadPlan parse_plan(const std::string& spec, const ModelInfo& model) {
  const std::string_view view = spec;
  if (view.starts_with("uniform:")) {
    const int count = parse_number<int>(view.substr(8), spec, "uniform:N");
    return HeadPlan::uniform(model.num_layers, model.num_kv_heads, count);
  }
  if (view.starts_with("random:")) {
    const size_t colon = view.find(':', 7);
    require(colon != std::string_view::npos, ErrorCode::kInvalidArgument, "--heads ", spec,
            ": expected random:N:SEED");
    const int count = parse_number<int>(view.substr(7, colon - 7), spec, "random:N:SEED");
    const auto seed = parse_number<uint64_t>(view.substr(colon + 1), spec, "random:N:SEED");
    return HeadPlan::random(model.num_layers, model.num_kv_heads, count, seed);
  }
  return load_head_plan(spec, model.plan_shape());
}

}  // namespace

std::shared_ptr<const HeadPlan> resolve_head_plan(const std::optional<std::string>& spec,
                                                  const std::string& /*model_spec*/,
                                                  const ModelInfo& model) {
  if (!spec) {
    return nullptr;
  }
  auto plan = std::make_shared<HeadPlan>(parse_plan(*spec, model));
  plan->name = *spec;
  return plan;
}

}  // namespace lychee::cli
