#include "text/jinja/runtime.h"

#include "base/check.h"

namespace lychee::text::jinja {

void Runtime::charge_steps(int64_t count) {
  steps_ += count;
  require(steps_ <= limits_.steps, ErrorCode::kInvalidArgument, "the template takes more than ",
          limits_.steps, " steps");
}

void Runtime::charge_bytes(int64_t count) {
  require(count <= limits_.produced_bytes - bytes_, ErrorCode::kInvalidArgument,
          "the template makes more than ", limits_.produced_bytes, " bytes of text");
  bytes_ += count;
}

void Runtime::check_output(const std::string& output) const {
  require(std::ssize(output) <= limits_.output_bytes, ErrorCode::kInvalidArgument,
          "the template's output is longer than ", limits_.output_bytes, " bytes");
}

const Macro* Runtime::new_macro(Macro macro) {
  return &macros_.emplace_back(std::move(macro));
}

}  // namespace lychee::text::jinja
