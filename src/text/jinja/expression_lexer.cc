#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/check.h"
#include "text/jinja/lexer.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_name_start(std::string_view character) {
  return character == "_" || is_letter(code_point(character));
}
bool is_name_part(std::string_view character) {
  return is_name_start(character) || is_digit(code_point(character));
}

int hex_value(char c) {
  if (is_ascii_digit(c)) {
    return c - '0';
  }
  const int letter = c | 0x20;
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

class ExpressionLexer {
 public:
  ExpressionLexer(std::string_view source, size_t at, int line, std::vector<Token>& tokens)
      : source_(source), at_(at), line_(line), tokens_(tokens) {}

  void run(std::string_view closing) {
    const int first_line = line_;
    while (at_ < source_.size()) {
      if (open_.empty() && is_closed_by(closing)) {
        return;
      }
      read_token();
    }
    fail(ErrorCode::kInvalidArgument, "chat template: the tag of line ", first_line,
         " is not closed by ", closing);
  }

  [[nodiscard]] size_t at() const { return at_; }
  [[nodiscard]] int line() const { return line_; }

 private:
  [[nodiscard]] bool is_closed_by(std::string_view closing) const {
    const std::string_view rest = source_.substr(at_);
    // An output may end in -}} alone; a block in -%} or +%} as well.
    const bool sign = rest.starts_with('-') || (closing == "%}" && rest.starts_with('+'));
    return rest.starts_with(closing) || (sign && rest.substr(1).starts_with(closing));
  }

  [[nodiscard]] std::string_view character_at(size_t at) const {
    return characters(source_.substr(at, 4)).front();
  }

  void read_token() {
    const std::string_view character = character_at(at_);
    const char c = character.front();
    if (is_space(code_point(character))) {
      line_ += c == '\n' ? 1 : 0;
      at_ += character.size();
    } else if (c == '\'' || c == '"') {
      read_string(c);
    } else if (is_ascii_digit(c)) {
      read_number();
    } else if (is_name_start(character)) {
      const size_t start = at_;
      while (at_ < source_.size() && is_name_part(character_at(at_))) {
        at_ += character_at(at_).size();
      }
      add(TokenKind::kName, std::string(source_.substr(start, at_ - start)));
    } else {
      read_operator();
    }
  }

  void read_operator() {
    static constexpr std::array<std::string_view, 27> kOperators = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]",
        "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "!"};
    const std::string_view rest = source_.substr(at_);
    const auto found = std::find_if(kOperators.begin(), kOperators.end(),
                                    [rest](std::string_view op) { return rest.starts_with(op); });
    require(found != kOperators.end() && *found != "!", ErrorCode::kInvalidArgument,
            "chat template: unexpected '", character_at(at_), "' in line ", line_);
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{') {
      open_ += c;
    } else if (c == ')' || c == ']' || c == '}') {
      const char opening = c == ')' ? '(' : c == ']' ? '[' : '{';
      require(open_.ends_with(opening), ErrorCode::kInvalidArgument, "chat template: unexpected '",
              c, "' in line ", line_);
      open_.pop_back();
    }
    at_ += found->size();
    add(TokenKind::kOperator, std::string(*found));
  }

  // Digits with single underscores between them.
  std::string read_digits(int base) {
    std::string digits;
    while (at_ < source_.size()) {
      const bool separator = source_[at_] == '_' && at_ + 1 < source_.size();
      const int value = hex_value(source_[at_ + (separator ? 1 : 0)]);
      if (value < 0 || value >= base) {
        break;
      }
      digits += source_[at_ + (separator ? 1 : 0)];
      at_ += separator ? 2 : 1;
    }
    return digits;
  }

  void read_number() {
    static constexpr std::array<std::pair<char, int>, 3> kBases = {{{'b', 2}, {'o', 8}, {'x', 16}}};
    const char marker = at_ + 1 < source_.size() ? static_cast<char>(source_[at_ + 1] | 0x20) : ' ';
    for (const auto& [letter, base] : kBases) {
      const bool has_digit = at_ + 2 < source_.size() && hex_value(source_[at_ + 2]) >= 0 &&
                             hex_value(source_[at_ + 2]) < base;
      if (source_[at_] == '0' && marker == letter && has_digit) {
        at_ += 2;
        add_integer(read_digits(base), base);
        return;
      }
    }
    // After a dot it is a position (`pair.0.1`), never a fraction.
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    std::string number = read_digits(10);
    const bool fraction = !after_dot && has_digit_after(at_, '.');
    if (fraction) {
      ++at_;
      number += '.' + read_digits(10);
    }
    const bool exponent = !after_dot && read_exponent(number);
    if (fraction || exponent) {
      add(TokenKind::kFloat, number);
    } else {
      add_integer(number, 10);
    }
  }

  [[nodiscard]] bool has_digit_after(size_t at, char mark) const {
    return at + 1 < source_.size() && source_[at] == mark && is_ascii_digit(source_[at + 1]);
  }

  bool read_exponent(std::string& number) {
    if (at_ + 1 >= source_.size() || (source_[at_] | 0x20) != 'e') {
      return false;
    }
    const bool sign = source_[at_ + 1] == '+' || source_[at_ + 1] == '-';
    const size_t digit = at_ + (sign ? 2 : 1);
    if (digit >= source_.size() || !is_ascii_digit(source_[digit])) {
      return false;
    }
    number += sign && source_[at_ + 1] == '-' ? "e-" : "e";
    at_ = digit;
    number += read_digits(10);
    return true;
  }

  void add_integer(const std::string& digits, int base) {
    int64_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    require(error == std::errc(), ErrorCode::kUnsupported, "chat template: the integer ", digits,
            " of line ", line_, " leaves 64 bits");
    // As Jinja: zeros alone may be repeated, other decimal numbers do not begin with one.
    require(base != 10 || digits.front() != '0' || value == 0, ErrorCode::kInvalidArgument,
            "chat template: the integer ", digits, " of line ", line_, " begins with 0");
    add(TokenKind::kInteger, std::to_string(value));
  }

  void read_string(char quote) {
    const int first_line = line_;
    std::string text;
    for (++at_; at_ < source_.size() && source_[at_] != quote;) {
      line_ += source_[at_] == '\n' ? 1 : 0;
      if (source_[at_] == '\\') {
        read_escape(text);
      } else {
        text += source_[at_++];
      }
    }
    require(at_ < source_.size(), ErrorCode::kInvalidArgument, "chat template: the string of line ",
            first_line, " is not closed");
    ++at_;
    tokens_.push_back({.kind = TokenKind::kString, .text = std::move(text), .line = first_line});
  }

  // Python's escapes; an unknown one stands for itself, backslash included.
  void read_escape(std::string& text) {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    require(at_ + 1 < source_.size(), ErrorCode::kInvalidArgument,
            "chat template: the string of line ", line_, " is not closed");
    const char letter = source_[at_ + 1];
    const size_t known = kLetters.find(letter);
    at_ += 2;
    if (known != std::string_view::npos) {
      text += kMeanings[known];
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      append_code(text, read_code(letter == 'x' ? 2 : letter == 'u' ? 4 : 8));
    } else if (letter >= '0' && letter <= '7') {
      int32_t code = letter - '0';
      for (int i = 0; i < 2 && at_ < source_.size() && source_[at_] >= '0' && source_[at_] <= '7';
           ++i) {
        code = code * 8 + (source_[at_++] - '0');
      }
      append_code(text, code);
    } else if (letter == '\n') {
      ++line_;
    } else {
      require(letter != 'N', ErrorCode::kUnsupported, "chat template: the escape \\N of line ",
              line_, " is not supported");
      text += '\\';
      text += letter;
    }
  }

  int32_t read_code(int num_digits) {
    int64_t code = 0;
    for (int i = 0; i < num_digits; ++i) {
      const int digit = at_ < source_.size() ? hex_value(source_[at_]) : -1;
      require(digit >= 0, ErrorCode::kInvalidArgument,
              R"(chat template: a \x, \u or \U escape of line )", line_, " lacks digits");
      code = code * 16 + digit;
      ++at_;
    }
    return code <= 0x10ffff ? static_cast<int32_t>(code) : -1;
  }

  void append_code(std::string& text, int32_t code) {
    require(code >= 0 && (code < 0xd800 || code > 0xdfff), ErrorCode::kInvalidArgument,
            "chat template: an escape of line ", line_, " is no Unicode character");
    append_code_point(text, code);
  }

  void add(TokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }

  std::string_view source_;
  size_t at_;
  int line_;
  std::vector<Token>& tokens_;
  std::string open_;  // brackets, within which a closing mark is none
};

}  // namespace

void tokenize_expression(std::string_view source, size_t& at, int& line, std::string_view closing,
                         std::vector<Token>& tokens) {
  ExpressionLexer lexer(source, at, line, tokens);
  lexer.run(closing);
  at = lexer.at();
  line = lexer.line();
}

}  // namespace lychee::text::jinja
