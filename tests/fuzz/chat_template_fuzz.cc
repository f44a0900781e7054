#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "lychee/error.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"
#include "text/jinja/text_form.h"

// Any bytes as a template, rendered for a short conversation with less room than users get, so that
// runs stay short.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lychee;
  static const text::jinja::Value variables = text::jinja::from_json(nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "system", "content": " Be \u00e9. "},
                       {"role": "user", "content": "a\nb", "n": [1, 2.5, null]},
                       {"role": "assistant", "content": null, "tool_calls": [{"name": "f"}]}],
          "add_generation_prompt": true, "bos_token": "<s>"})"));
  const text::jinja::Limits limits{
      .steps = 20'000, .produced_bytes = 1 << 20, .output_bytes = 1 << 18, .call_depth = 400};
  try {
    const text::jinja::Body body =
        text::jinja::parse(std::string_view(reinterpret_cast<const char*>(data), size));
    text::jinja::check_names(body);
    (void)text::jinja::Interpreter(limits).render(body, variables);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) {
      throw;
    }
  }
  return 0;
}
