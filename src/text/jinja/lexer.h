#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lychee::text::jinja {

enum class TokenKind {
  kText,
  kOutputBegin,  // {{
  kOutputEnd,
  kBlockBegin,  // {%
  kBlockEnd,
  kName,
  kString,  // text: the string itself, escapes resolved
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// Cuts a template into tokens, with trim_blocks and lstrip_blocks as Hugging Face sets them: the
// newline after a block or comment goes, and so does the indentation before it. Comments are left
// out; one kEnd is last. Throws Error(kInvalidArgument) with the line.
[[nodiscard]] std::vector<Token> tokenize(std::string_view source);

// Tokens of what stands between {{ }} or {% %}, from `at` to its end; moves both along. `closing`
// is
// "}}" or "%}". Stops before the closing mark or its "-" or "+".
void tokenize_expression(std::string_view source, size_t& at, int& line, std::string_view closing,
                         std::vector<Token>& tokens);

}  // namespace lychee::text::jinja
