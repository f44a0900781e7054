#include "text/chat_template.h"

#include "base/check.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"
#include "text/jinja/text_form.h"

namespace lychee::text {

struct ChatTemplate::Impl {
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::string_view source) : impl_(std::make_unique<Impl>()) {
  impl_->body = jinja::parse(source);
  jinja::check_names(impl_->body);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const nlohmann::ordered_json& variables) const {
  require(variables.is_object(), ErrorCode::kInvalidArgument,
          "the variables of a chat template must be a JSON object");
  jinja::Interpreter interpreter{jinja::Limits{}};
  return interpreter.render(impl_->body, jinja::from_json(variables));
}

}  // namespace lychee::text
