#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lychee::text {

// A chat template: the subset of Jinja that published models use, with Hugging Face's settings
// (trim_blocks, lstrip_blocks, loop controls, undefined is falsy). Immutable after construction and
// safe to share between threads. A template is untrusted: depth, iterations and output are limited.
class ChatTemplate {
 public:
  // Throws Error(kUnsupported) naming the construct and line, Error(kInvalidArgument) for a syntax
  // error.
  explicit ChatTemplate(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // `variables`: messages, add_generation_prompt, bos_token, eos_token, … as an object. Throws
  // Error(kInvalidArgument) with the template's own message for raise_exception.
  [[nodiscard]] std::string render(const nlohmann::ordered_json& variables) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee::text
