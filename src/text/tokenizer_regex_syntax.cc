#include "base/check.h"
#include "text/tokenizer_regex.h"

namespace lychee::text {
namespace {

constexpr std::string_view kSpaceSet = R"(\t-\r\x{85}\p{Z})";

// Copies a pattern to PCRE2's syntax, one construct at a time.
class Rewriter {
 public:
  explicit Rewriter(std::string_view pattern) : pattern_(pattern) {}

  std::string run() {
    while (pos_ < pattern_.size()) {
      const char c = pattern_[pos_];
      if (c == '\\') {
        rewrite_escape();
      } else if (in_class_) {
        rewrite_in_class(c);
      } else if (c == '[') {
        open_class();
      } else {
        // Oniguruma's anchors match at every line.
        refuse_if(c == '^' || c == '$', std::string_view(&pattern_[pos_], 1));
        out_ += c;
        ++pos_;
      }
    }
    require(!in_class_, ErrorCode::kInvalidArgument, "pattern has an unclosed [: ", pattern_);
    return std::move(out_);
  }

 private:
  void refuse_if(bool refused, std::string_view construct) const {
    require(!refused, ErrorCode::kUnsupported, "the construct ", construct,
            " is not supported in the pattern ", pattern_);
  }

  void open_class() {
    in_class_ = true;
    out_ += '[';
    ++pos_;
    if (pos_ < pattern_.size() && pattern_[pos_] == '^') {
      out_ += '^';
      ++pos_;
    }
    // A ] that comes first is a literal in PCRE2 and an error or a warning in Oniguruma.
    refuse_if(pos_ < pattern_.size() && pattern_[pos_] == ']', "[]");
  }

  void rewrite_in_class(char c) {
    refuse_if(c == '[', "[ within a character class");
    refuse_if(pattern_.substr(pos_, 2) == "&&", "&& within a character class");
    in_class_ = c != ']';
    out_ += c;
    ++pos_;
  }

  void rewrite_escape() {
    require(pos_ + 1 < pattern_.size(), ErrorCode::kInvalidArgument,
            "pattern ends in a backslash: ", pattern_);
    const char escaped = pattern_[pos_ + 1];
    const std::string_view construct = pattern_.substr(pos_, 2);
    pos_ += 2;
    if (escaped == 's') {
      out_ += in_class_ ? std::string(kSpaceSet) : '[' + std::string(kSpaceSet) + ']';
    } else if (escaped == 'S') {
      refuse_if(in_class_, "\\S within a character class");
      out_ += "[^" + std::string(kSpaceSet) + ']';
    } else {
      // Letters with the same meaning in both; others differ (\w, \b, \h) or are rare.
      constexpr std::string_view kSame = "dDnrtfxpP";
      const bool is_letter = (escaped >= 'a' && escaped <= 'z') ||
                             (escaped >= 'A' && escaped <= 'Z') ||
                             (escaped >= '0' && escaped <= '9');
      refuse_if(is_letter && kSame.find(escaped) == std::string_view::npos, construct);
      out_ += construct;
    }
  }

  std::string_view pattern_;
  size_t pos_ = 0;
  bool in_class_ = false;
  std::string out_;
};

}  // namespace

std::string to_pcre2_syntax(std::string_view pattern) {
  return Rewriter(pattern).run();
}

}  // namespace lychee::text
