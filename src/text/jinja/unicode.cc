#include "text/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>

namespace lychee::text::jinja {
namespace {

// Bytes of the character at the start of `text`, and its code point (-1: an invalid byte).
std::pair<size_t, int32_t> first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) {
    return {1, lead};
  }
  utf8proc_int32_t code = -1;
  const utf8proc_ssize_t bytes =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &code);
  if (bytes <= 0) {
    return {1, -1};
  }
  return {static_cast<size_t>(bytes), code};
}

bool is_cased(int32_t code) {
  const utf8proc_category_t category = utf8proc_category(code);
  return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
         category == UTF8PROC_CATEGORY_LT;
}

template <typename Convert>
std::string convert(std::string_view text, const Convert& convert_code) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto [bytes, code] = first_character(text);
    if (code < 0) {
      result += text.front();
    } else {
      append_code_point(result, convert_code(code));
    }
    text.remove_prefix(bytes);
  }
  return result;
}

bool all_of_case(std::string_view text, utf8proc_category_t wanted) {
  bool any = false;
  for (const std::string_view character : characters(text)) {
    const int32_t code = code_point(character);
    if (code >= 0 && is_cased(code)) {
      if (utf8proc_category(code) != wanted) {
        return false;
      }
      any = true;
    }
  }
  return any;
}

// The characters that strip takes away.
class StripSet {
 public:
  explicit StripSet(const std::string* set) : spaces_(set == nullptr) {
    if (set != nullptr) {
      members_ = characters(*set);
    }
  }
  [[nodiscard]] bool contains(std::string_view character) const {
    return spaces_ ? is_space(code_point(character))
                   : std::find(members_.begin(), members_.end(), character) != members_.end();
  }

 private:
  bool spaces_;
  std::vector<std::string_view> members_;
};

bool is_line_break(int32_t code) {
  return (code >= 0x0a && code <= 0x0d) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const size_t bytes = first_character(text).first;
    result.push_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return result;
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  while (!text.empty()) {
    text.remove_prefix(first_character(text).first);
    ++count;
  }
  return count;
}

int32_t code_point(std::string_view character) {
  return character.empty() ? -1 : first_character(character).second;
}

void append_code_point(std::string& text, int32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count = utf8proc_encode_char(code, bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count));
}

bool is_space(int32_t code) {
  return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 ||
         code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
         code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool is_printable(int32_t code) {
  if (code == ' ') {
    return true;
  }
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_digit(int32_t code) {
  return code >= 0 && utf8proc_category(code) == UTF8PROC_CATEGORY_ND;
}

bool is_letter(int32_t code) {
  const utf8proc_category_t category = code >= 0 ? utf8proc_category(code) : UTF8PROC_CATEGORY_CN;
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool is_upper(std::string_view text) {
  return all_of_case(text, UTF8PROC_CATEGORY_LU);
}
bool is_lower(std::string_view text) {
  return all_of_case(text, UTF8PROC_CATEGORY_LL);
}

std::string to_upper(std::string_view text) {
  return convert(text, utf8proc_toupper);
}
std::string to_lower(std::string_view text) {
  return convert(text, utf8proc_tolower);
}

std::string to_title(std::string_view text) {
  bool inside_word = false;
  return convert(text, [&inside_word](int32_t code) {
    const int32_t converted = inside_word ? utf8proc_tolower(code) : utf8proc_totitle(code);
    inside_word = is_cased(code);
    return converted;
  });
}

std::string capitalize(std::string_view text) {
  bool first = true;
  return convert(text, [&first](int32_t code) {
    const int32_t converted = first ? utf8proc_totitle(code) : utf8proc_tolower(code);
    first = false;
    return converted;
  });
}

std::string_view strip_left(std::string_view text, const std::string* set) {
  const StripSet stripped(set);
  while (!text.empty()) {
    const size_t bytes = first_character(text).first;
    if (!stripped.contains(text.substr(0, bytes))) {
      break;
    }
    text.remove_prefix(bytes);
  }
  return text;
}

std::string_view strip_right(std::string_view text, const std::string* set) {
  const StripSet stripped(set);
  while (!text.empty()) {
    // Back over at most three continuation bytes; if what lies there is not one character that ends
    // the text, the last byte stands for itself.
    size_t start = text.size() - 1;
    while (start > 0 && text.size() - start < 4 &&
           (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) {
      --start;
    }
    if (start + first_character(text.substr(start)).first != text.size()) {
      start = text.size() - 1;
    }
    if (!stripped.contains(text.substr(start))) {
      break;
    }
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  size_t at = 0;
  while (at < text.size()) {
    const auto [bytes, code] = first_character(text.substr(at));
    if (is_line_break(code)) {
      lines.push_back(text.substr(start, at - start));
      const bool crlf = code == '\r' && at + 1 < text.size() && text[at + 1] == '\n';
      start = at + bytes + (crlf ? 1 : 0);
      at = start;
    } else {
      at += bytes;
    }
  }
  if (start < text.size()) {
    lines.push_back(text.substr(start));
  }
  return lines;
}

}  // namespace lychee::text::jinja
