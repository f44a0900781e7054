#pragma once

#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"

namespace lychee::text::jinja {

// Where the parser is in the tokens. The last token is kEnd and is never passed.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  [[nodiscard]] const Token& current() const { return tokens_[at_]; }
  [[nodiscard]] const Token& next() const {
    return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_];
  }
  [[nodiscard]] int line() const { return current().line; }
  [[nodiscard]] bool is(TokenKind kind) const { return current().kind == kind; }
  [[nodiscard]] bool is_name(std::string_view name) const;
  [[nodiscard]] bool is_operator(std::string_view op) const;

  const Token& take();
  // Takes the token if it is that name or operator.
  bool take_name(std::string_view name);
  bool take_operator(std::string_view op);
  // Throw Error(kInvalidArgument) unless the token is what is expected.
  const Token& expect(TokenKind kind, std::string_view what);
  void expect_name(std::string_view name);
  void expect_operator(std::string_view op);
  [[noreturn]] void fail_unexpected(std::string_view expected) const;

 private:
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace lychee::text::jinja
