#pragma once

#include <memory>
#include <span>
#include <string>

#include "io/model_files.h"

namespace lychee::text {

struct ChatMessage {
  std::string role;
  std::string content;
};

// A model's way to write a conversation as text: its chat template and the variables it expects.
// Immutable after construction and safe to share between threads.
class ChatFormat {
 public:
  // Throws as ChatTemplate does; Error(kUnsupported) when the model has no template.
  explicit ChatFormat(const io::ModelFiles& files);
  ~ChatFormat();
  ChatFormat(ChatFormat&&) noexcept;
  ChatFormat& operator=(ChatFormat&&) noexcept;

  [[nodiscard]] std::string render(std::span<const ChatMessage> messages,
                                   bool add_generation_prompt) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee::text
