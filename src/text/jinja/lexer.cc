#include "text/jinja/lexer.h"

#include <algorithm>

#include "base/check.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

// Line ends become "\n", and one at the end of the template goes.
std::string normalize_newlines(std::string_view source) {
  std::string result;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      result += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      result += '\n';
    }
  }
  if (result.ends_with('\n')) {
    result.pop_back();
  }
  return result;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const size_t tag = find_tag();
      const std::string_view text = source_.substr(at_, tag - at_);
      if (tag == source_.size()) {
        add_text(text);
        break;
      }
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      add_text(text_before_tag(text, source_[tag + 1], sign));
      line_ = line_at_tag_;
      at_ = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
      read_tag(source_[tag + 1]);
      starts_line_ = source_[at_ - 1] == '\n';
    }
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[nodiscard]] size_t find_tag() const {
    for (size_t i = source_.find('{', at_); i < source_.size() - 1; i = source_.find('{', i + 1)) {
      const char next = source_[i + 1];
      if (next == '{' || next == '%' || next == '#') {
        return i;
      }
    }
    return source_.size();
  }

  // What is left of the text when the tag's sign and lstrip_blocks have taken theirs.
  std::string_view text_before_tag(std::string_view text, char kind, char sign) {
    line_at_tag_ = line_ + static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    if (sign == '-') {
      return strip_right(text, nullptr);
    }
    if (sign == '+' || kind == '{') {
      return text;
    }
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    const bool at_line_start = line_start > 0 || starts_line_;
    const bool blank = strip_left(text.substr(line_start), nullptr).empty();
    return at_line_start && blank ? text.substr(0, line_start) : text;
  }

  void read_tag(char kind) {
    if (kind == '#') {
      const size_t end = source_.find("#}", at_);
      require(end != std::string_view::npos, ErrorCode::kInvalidArgument,
              "chat template: the comment of line ", line_, " is not closed");
      const bool signed_end = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
      count_lines(end - (signed_end ? 1 : 0));
      close("#}", true);
    } else if (kind == '{') {
      add(TokenKind::kOutputBegin, "");
      tokenize_expression(source_, at_, line_, "}}", tokens_);
      add(TokenKind::kOutputEnd, "");
      close("}}", false);
    } else if (!read_raw()) {
      add(TokenKind::kBlockBegin, "");
      tokenize_expression(source_, at_, line_, "%}", tokens_);
      add(TokenKind::kBlockEnd, "");
      close("%}", true);
    }
  }

  // Passes a closing mark with its sign: "-" takes the white space that follows; else a block takes
  // one newline, unless the sign is "+".
  void close(std::string_view mark, bool is_block) {
    const char sign = source_[at_] == mark[0] ? '\0' : source_[at_];
    at_ += sign != '\0' ? 1 : 0;
    at_ += mark.size();
    if (sign == '-') {
      const std::string_view rest = source_.substr(at_);
      count_lines(at_ + rest.size() - strip_left(rest, nullptr).size());
    } else if (is_block && sign != '+' && at_ < source_.size() && source_[at_] == '\n') {
      count_lines(at_ + 1);
    }
  }

  void count_lines(size_t end) {
    const std::string_view passed = source_.substr(at_, end - at_);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    at_ = end;
  }

  // {% raw %} … {% endraw %}: everything between is text.
  bool read_raw() {
    size_t at = at_;
    if (!pass_word(at, "raw", "-")) {
      return false;
    }
    at_ = at;
    close("%}", false);
    const size_t start = at_;
    for (size_t tag = source_.find("{%", start); tag != std::string_view::npos;
         tag = source_.find("{%", tag + 2)) {
      size_t end = tag + 2;
      const char sign = end < source_.size() ? source_[end] : '\0';
      end += sign == '-' || sign == '+' ? 1 : 0;
      if (pass_word(end, "endraw", "-+")) {
        add_text(text_before_tag(source_.substr(start, tag - start), '%', sign));
        line_ = line_at_tag_;
        at_ = end;
        close("%}", true);
        return true;
      }
    }
    fail(ErrorCode::kInvalidArgument, "chat template: {% raw %} of line ", line_,
         " has no {% endraw %}");
  }

  // Whether the word alone fills the tag, which may end in one of `signs`; moves `at` to its
  // closing mark.
  bool pass_word(size_t& at, std::string_view word, std::string_view signs) const {
    const std::string_view rest = strip_left(source_.substr(at), nullptr);
    if (!rest.starts_with(word)) {
      return false;
    }
    std::string_view tail = strip_left(rest.substr(word.size()), nullptr);
    const size_t end = source_.size() - tail.size();
    if (!tail.empty() && signs.find(tail.front()) != std::string_view::npos) {
      tail.remove_prefix(1);
    }
    if (!tail.starts_with("%}")) {
      return false;
    }
    at = end;
    return true;
  }

  void add_text(std::string_view text) {
    if (!text.empty()) {
      add(TokenKind::kText, text);
    }
  }

  void add(TokenKind kind, std::string_view text) {
    tokens_.push_back({.kind = kind, .text = std::string(text), .line = line_});
  }

  std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  int line_at_tag_ = 1;
  bool starts_line_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  const std::string normalized = normalize_newlines(source);
  return Lexer(normalized).run();
}

}  // namespace lychee::text::jinja
