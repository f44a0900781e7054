#include "text/jinja/text_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

// float.__repr__: the shortest digits that round-trip, an exponent below 1e-4 and from 1e16 on.
std::string float_text(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value < 0 ? "-inf" : "inf";
  }
  std::array<char, 64> buffer;
  const double magnitude = std::abs(value);
  const bool fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  const auto format = fixed ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format).ptr;
  std::string text(buffer.data(), end);
  if (fixed && text.find('.') == std::string::npos) {
    text += ".0";
  }
  return text;
}

void append_escaped(std::string& result, std::string_view character, char quote) {
  const int32_t code = code_point(character);
  if (code < 0) {
    result += fmt::format("\\x{:02x}", static_cast<unsigned char>(character.front()));
  } else if (code == '\\' || code == quote) {
    result += '\\';
    result += character;
  } else if (code == '\n') {
    result += "\\n";
  } else if (code == '\r') {
    result += "\\r";
  } else if (code == '\t') {
    result += "\\t";
  } else if (is_printable(code)) {
    result += character;
  } else if (code < 0x100) {
    result += fmt::format("\\x{:02x}", code);
  } else if (code < 0x10000) {
    result += fmt::format("\\u{:04x}", code);
  } else {
    result += fmt::format("\\U{:08x}", code);
  }
}

std::string quoted(const std::string& text) {
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string result(1, quote);
  for (const std::string_view character : characters(text)) {
    append_escaped(result, character, quote);
  }
  return result + quote;
}

std::string sequence_text(const Sequence& sequence) {
  std::string items;
  for (const Value& item : sequence.items) {
    items += (items.empty() ? "" : ", ") + to_repr(item);
  }
  switch (sequence.kind) {
    case SequenceKind::kList:
      return "[" + items + "]";
    case SequenceKind::kTuple:
      return "(" + items + (sequence.items.size() == 1 ? ",)" : ")");
    case SequenceKind::kKeys:
      return "dict_keys([" + items + "])";
    case SequenceKind::kValues:
      return "dict_values([" + items + "])";
    case SequenceKind::kItems:
      return "dict_items([" + items + "])";
    case SequenceKind::kRange:
    case SequenceKind::kGenerator:
      break;
  }
  return sequence.kind == SequenceKind::kRange ? "<range>" : "<generator>";
}

std::string map_text(const Map& map) {
  std::string result = "{";
  for (const auto& [key, value] : map.entries) {
    result += (result.size() > 1 ? ", " : "") + to_repr(key) + ": " + to_repr(value);
  }
  return result + "}";
}

}  // namespace

std::string to_text(const Value& value) {
  if (const std::string* text = value.text()) {
    return *text;
  }
  return value.is_undefined() ? "" : to_repr(value);
}

std::string to_repr(const Value& value) {
  if (const std::string* text = value.text()) {
    return quoted(*text);
  }
  if (value.is_bool()) {
    return is_true(value) ? "True" : "False";
  }
  if (const auto integer = value.integer()) {
    return std::to_string(*integer);
  }
  if (value.is_float()) {
    return float_text(value.number());
  }
  if (const Sequence* sequence = value.sequence()) {
    return sequence_text(*sequence);
  }
  if (const Map* map = value.map()) {
    return map_text(*map);
  }
  if (value.is_none()) {
    return "None";
  }
  if (value.is_undefined()) {
    return "Undefined";
  }
  return "<" + std::string(type_name(value)) + ">";
}

}  // namespace lychee::text::jinja
