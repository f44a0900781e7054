#include "io/head_plan/head_plan_spec.h"

#include <charconv>
#include <string_view>
#include <system_error>

#include "base/check.h"

namespace lychee::io {
namespace {

template <typename T>
T parse_number(std::string_view digits, const std::string& text, std::string_view form) {
  T value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  require(error == std::errc{} && end == digits.data() + digits.size(), ErrorCode::kInvalidArgument,
          "head plan \"", text, "\" is not ", form, " with whole numbers");
  return value;
}

}  // namespace

HeadPlanSpec parse_head_plan_spec(const std::string& text) {
  using Kind = HeadPlanSpec::Kind;
  constexpr std::string_view kUniform = "uniform:";
  constexpr std::string_view kRandom = "random:";
  const std::string_view view = text;
  require(!view.empty(), ErrorCode::kInvalidArgument, "the name of the head plan is empty");
  if (view == "builtin" || view == "builtin:swapped") {
    return {.kind = view == "builtin" ? Kind::kBuiltin : Kind::kBuiltinSwapped, .folder = {}};
  }
  if (view.starts_with(kUniform)) {
    const int count = parse_number<int>(view.substr(kUniform.size()), text, "uniform:N");
    return {.kind = Kind::kUniform, .num_retrieval = count, .folder = {}};
  }
  if (view.starts_with(kRandom)) {
    const std::string_view numbers = view.substr(kRandom.size());
    const size_t colon = numbers.find(':');
    require(colon != std::string_view::npos, ErrorCode::kInvalidArgument, "head plan \"", text,
            "\" is not random:N:SEED; the seed is missing");
    return {.kind = Kind::kRandom,
            .num_retrieval = parse_number<int>(numbers.substr(0, colon), text, "random:N:SEED"),
            .seed = parse_number<uint64_t>(numbers.substr(colon + 1), text, "random:N:SEED"),
            .folder = {}};
  }
  return {.kind = Kind::kFolder, .folder = text};
}

HeadPlan resolve_head_plan(const HeadPlanSpec& spec, const HeadPlanShape& shape,
                           const BuiltinPlans& builtin) {
  using Kind = HeadPlanSpec::Kind;
  switch (spec.kind) {
    case Kind::kUniform:
      return HeadPlan::uniform(shape.num_layers, shape.num_kv_heads, spec.num_retrieval);
    case Kind::kRandom:
      return HeadPlan::random(shape.num_layers, shape.num_kv_heads, spec.num_retrieval, spec.seed);
    case Kind::kFolder: {
      std::error_code error;
      require(std::filesystem::exists(spec.folder, error), ErrorCode::kInvalidArgument,
              "no head plan ", spec.folder.string(),
              ": give a plan folder, uniform:N, random:N:SEED, builtin or builtin:swapped");
      return load_head_plan(spec.folder, shape);
    }
    case Kind::kBuiltin:
    case Kind::kBuiltinSwapped:
      break;
  }
  const HeadPlan& plan = spec.kind == Kind::kBuiltin ? builtin.plan : builtin.swapped;
  require(!plan.empty(), ErrorCode::kInvalidArgument,
          "this model has no plan of its own; only the built-in model has: give a plan folder, "
          "uniform:N or random:N:SEED");
  return plan;
}

}  // namespace lychee::io
