#include "text/jinja/token_stream.h"

#include "base/check.h"

namespace lychee::text::jinja {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kText:
      return "text";
    case TokenKind::kOutputBegin:
      return "'{{'";
    case TokenKind::kOutputEnd:
      return "'}}'";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kString:
      return "a string";
    case TokenKind::kEnd:
      return "the end";
    default:
      return "'" + token.text + "'";
  }
}

}  // namespace

bool TokenStream::is_name(std::string_view name) const {
  return is(TokenKind::kName) && current().text == name;
}

bool TokenStream::is_operator(std::string_view op) const {
  return is(TokenKind::kOperator) && current().text == op;
}

const Token& TokenStream::take() {
  const Token& token = current();
  at_ += at_ + 1 < tokens_.size() ? 1 : 0;
  return token;
}

bool TokenStream::take_name(std::string_view name) {
  const bool found = is_name(name);
  if (found) {
    take();
  }
  return found;
}

bool TokenStream::take_operator(std::string_view op) {
  const bool found = is_operator(op);
  if (found) {
    take();
  }
  return found;
}

const Token& TokenStream::expect(TokenKind kind, std::string_view what) {
  if (!is(kind)) {
    fail_unexpected(what);
  }
  return take();
}

void TokenStream::expect_name(std::string_view name) {
  if (!take_name(name)) {
    fail_unexpected(name);
  }
}

void TokenStream::expect_operator(std::string_view op) {
  if (!take_operator(op)) {
    fail_unexpected(op);
  }
}

void TokenStream::fail_unexpected(std::string_view expected) const {
  fail(ErrorCode::kInvalidArgument, "chat template: expected ", expected, ", found ",
       describe(current()), " in line ", line());
}

}  // namespace lychee::text::jinja
