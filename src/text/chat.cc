#include "text/chat.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "text/chat_template.h"

namespace lychee::text {

struct ChatFormat::Impl {
  ChatTemplate chat_template;
  nlohmann::ordered_json variables;
};

ChatFormat::ChatFormat(const io::ModelFiles& files) {
  require(!files.chat_template.empty(), ErrorCode::kUnsupported, files.name,
          " has no chat template");
  impl_ = std::make_unique<Impl>(Impl{ChatTemplate(files.chat_template), {}});
  if (files.tokenizer) {
    impl_->variables["bos_token"] = files.tokenizer->bos_token;
    impl_->variables["eos_token"] = files.tokenizer->eos_token;
    impl_->variables["pad_token"] = files.tokenizer->pad_token;
    impl_->variables["unk_token"] = files.tokenizer->unk_token;
  }
}

ChatFormat::~ChatFormat() = default;
ChatFormat::ChatFormat(ChatFormat&&) noexcept = default;
ChatFormat& ChatFormat::operator=(ChatFormat&&) noexcept = default;

std::string ChatFormat::render(std::span<const ChatMessage> messages,
                               bool add_generation_prompt) const {
  nlohmann::ordered_json variables = impl_->variables;
  variables["messages"] = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages) {
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  variables["add_generation_prompt"] = add_generation_prompt;
  return impl_->chat_template.render(variables);
}

}  // namespace lychee::text
