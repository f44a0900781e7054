#include "text/python_table.h"

#include <charconv>

#include "base/check.h"
#include "text/tokenizer_utf8.h"

namespace lychee::text {
namespace {

constexpr size_t kMaxDepth = 4;

class TableReader {
 public:
  TableReader(const std::string& name, std::string_view source,
              const std::function<void(std::u32string_view, double)>& use)
      : name_(name), source_(source), use_(use) {}

  void read() {
    const size_t begin = source_.find('{');
    at_ = begin == std::string_view::npos ? source_.size() : begin;
    read_dictionary();
  }

 private:
  [[noreturn]] void refuse(const char* wanted) const {
    fail(ErrorCode::kInvalidArgument, name_, ": byte ", at_, " is no ", wanted);
  }
  char next() {
    while (at_ < source_.size() && (source_[at_] == ' ' || source_[at_] == '\n' ||
                                    source_[at_] == '\r' || source_[at_] == '\t')) {
      ++at_;
    }
    return at_ < source_.size() ? source_[at_] : '\0';
  }
  void expect(char c, const char* wanted) {
    if (next() != c) {
      refuse(wanted);
    }
    ++at_;
  }

  void read_dictionary() {
    expect('{', "dictionary");
    if (keys_.size() == kMaxDepth) {
      refuse("number");
    }
    while (next() != '}') {
      keys_ += read_key();
      expect(':', "colon after a key");
      if (next() == '{') {
        read_dictionary();
      } else {
        use_(keys_, read_number());
      }
      keys_.pop_back();
      if (next() != '}') {
        expect(',', "comma after a value");
      }
    }
    ++at_;
  }

  char32_t read_key() {
    expect('\'', "key");
    std::string_view rest = source_.substr(at_);
    char32_t key = 0;
    size_t length = 0;
    if (rest.starts_with("\\u")) {
      constexpr size_t kEscape = 6;
      uint32_t code = 0;
      const char* digits = rest.data() + 2;
      const char* end = rest.data() + std::min(kEscape, rest.size());
      if (std::from_chars(digits, end, code, 16).ptr != rest.data() + kEscape) {
        refuse("character");
      }
      key = code;
      length = kEscape;
    } else if (!rest.empty() && first_char(rest).status == Utf8Status::kValid) {
      key = first_code_point(rest);
      length = first_char(rest).length;
    } else {
      refuse("character");
    }
    at_ += length;
    expect('\'', "key of one character");
    return key;
  }

  double read_number() {
    double value = 0;
    const char* end = source_.data() + source_.size();
    const auto [rest, error] = std::from_chars(source_.data() + at_, end, value);
    if (error != std::errc()) {
      refuse("number");
    }
    at_ = static_cast<size_t>(rest - source_.data());
    return value;
  }

  const std::string& name_;
  std::string_view source_;
  const std::function<void(std::u32string_view, double)>& use_;
  size_t at_ = 0;
  std::u32string keys_;
};

}  // namespace

void read_python_table(const std::string& name, std::string_view source,
                       const std::function<void(std::u32string_view keys, double value)>& use) {
  TableReader(name, source, use).read();
}

}  // namespace lychee::text
