#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "text/jinja/filters.h"
#include "text/jinja/text_form.h"
#include "text/jinja/text_functions.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

std::string self_as_text(const Call& call) {
  return text_of(call.runtime, call.self);
}

Value run_upper(const Call& call) {
  return to_upper(self_as_text(call));
}
Value run_lower(const Call& call) {
  return to_lower(self_as_text(call));
}
Value run_capitalize(const Call& call) {
  return capitalize(self_as_text(call));
}
Value run_string(const Call& call) {
  return self_as_text(call);
}
Value run_safe(const Call& call) {
  return call.self;
}

Value run_trim(const Call& call) {
  const std::string text = self_as_text(call);
  const std::string* set = call[0].text();
  return strip_right(strip_left(text, set), set);
}

// Jinja's own idea of a title: a word begins after white space or one of -({[<.
Value run_title(const Call& call) {
  const std::string text = self_as_text(call);
  std::string result;
  bool starts_word = true;
  for (const std::string_view character : characters(text)) {
    result += starts_word ? to_upper(character) : to_lower(character);
    starts_word = is_space(code_point(character)) ||
                  std::string_view("-({[<").find(character.front()) != std::string_view::npos;
  }
  return result;
}

Value run_replace(const Call& call) {
  return replace(call.runtime, self_as_text(call), text_of(call.runtime, call[0]),
                 text_of(call.runtime, call[1]), call[2].is_none() ? -1 : call.integer(2, -1));
}

Value run_indent(const Call& call) {
  const std::string& text = call.self_text();
  const std::string* given = call[0].text();
  const int64_t width = given != nullptr ? 0 : std::max<int64_t>(call.integer(0, 4), 0);
  call.runtime.charge_bytes(width);
  const std::string indent =
      given != nullptr ? *given : std::string(static_cast<size_t>(width), ' ');
  const bool blank = is_true(call[2]);
  std::string result = is_true(call[1]) ? indent : "";
  bool first = true;
  const std::string lines = text + "\n";
  for (const std::string_view line : split_lines(lines)) {
    call.runtime.charge_bytes(std::ssize(indent) + std::ssize(line) + 1);
    if (!first) {
      result += '\n';
      result += blank || !line.empty() ? indent : "";
    }
    first = false;
    result += line;
  }
  return result;
}

Value run_wordcount(const Call& call) {
  return length(split(call.runtime, self_as_text(call), nullptr, -1));
}

std::optional<double> parse_float(std::string_view text) {
  text = strip_right(strip_left(text, nullptr), nullptr);
  text.remove_prefix(text.starts_with('+') ? 1 : 0);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
  return whole ? std::optional(value) : std::nullopt;
}

std::optional<int64_t> truncated(double value) {
  const bool fits = std::abs(value) < 0x1p63;  // false for NaN
  return fits ? std::optional(static_cast<int64_t>(value)) : std::nullopt;
}

Value run_int(const Call& call) {
  require_defined(call.self);
  const Value otherwise = call.has(0) ? call[0] : Value(0);
  if (call.self.is_integral()) {
    return *call.self.integer();
  }
  std::optional<int64_t> result;
  if (call.self.is_float()) {
    result = truncated(call.self.number());
  } else if (call.self.text() != nullptr) {
    std::string_view digits = strip_right(strip_left(*call.self.text(), nullptr), nullptr);
    digits.remove_prefix(digits.starts_with('+') ? 1 : 0);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc() && end == digits.data() + digits.size()) {
      return value;
    }
    const std::optional<double> number = parse_float(*call.self.text());
    result = number ? truncated(*number) : std::nullopt;
  }
  return result ? Value(*result) : otherwise;
}

Value run_float(const Call& call) {
  require_defined(call.self);
  if (call.self.is_number()) {
    return call.self.number();
  }
  const auto parsed = call.self.text() != nullptr ? parse_float(*call.self.text()) : std::nullopt;
  return parsed ? Value(*parsed) : call.has(0) ? call[0] : Value(0.0);
}

Value run_abs(const Call& call) {
  require(call.self.is_number(), ErrorCode::kInvalidArgument, "abs: a ", type_name(call.self),
          " is no number");
  if (call.self.is_float()) {
    return std::abs(call.self.number());
  }
  const int64_t value = *call.self.integer();
  require(value != INT64_MIN, ErrorCode::kInvalidArgument, "abs: the result leaves 64 bits");
  return value < 0 ? -value : value;
}

Value run_round(const Call& call) {
  require(call.self.is_number(), ErrorCode::kInvalidArgument, "round: a ", type_name(call.self),
          " is no number");
  const int64_t precision = call.integer(0, 0);
  require(precision >= 0 && precision <= 30, ErrorCode::kInvalidArgument,
          "round: the precision must be 0 to 30, not ", precision);
  const std::string method = call.has(1) ? call.text(1) : "common";
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") {
    return std::ceil(call.self.number() * scale) / scale;
  }
  if (method == "floor") {
    return std::floor(call.self.number() * scale) / scale;
  }
  require(method == "common", ErrorCode::kInvalidArgument,
          "round: the method must be common, ceil or floor, not ", method);
  if (call.self.is_integral()) {
    return *call.self.integer();
  }
  // Through decimal digits, as Python rounds: correct for the exact binary value.
  const std::string digits = fmt::format("{:.{}f}", call.self.number(), precision);
  return parse_float(digits).value_or(call.self.number());
}

JsonLayout json_layout(const Call& call) {
  JsonLayout layout;
  layout.ascii_only = is_true(call[0]);
  layout.sort_keys = is_true(call[3]);
  if (call.has(1) && !call[1].is_none()) {
    layout.multiline = true;
    layout.item_separator = ",";
    const std::string* text = call[1].text();
    const int64_t width = text != nullptr ? 0 : std::max<int64_t>(call.integer(1, 0), 0);
    require(width <= 64 && (text == nullptr || text->size() <= 64), ErrorCode::kInvalidArgument,
            "tojson: the indent is wider than 64");
    layout.indent = text != nullptr ? *text : std::string(static_cast<size_t>(width), ' ');
  }
  if (call.has(2) && !call[2].is_none()) {
    const Values separators = iterate(call[2]);
    require(separators.size() == 2 && separators[0].text() != nullptr &&
                separators[1].text() != nullptr,
            ErrorCode::kInvalidArgument, "tojson: separators must be two texts");
    layout.item_separator = *separators[0].text();
    layout.key_separator = *separators[1].text();
    require(layout.item_separator.size() + layout.key_separator.size() <= 64,
            ErrorCode::kInvalidArgument, "tojson: the separators are longer than 64 bytes");
  }
  return layout;
}

Value run_tojson(const Call& call) {
  call.runtime.charge_bytes(extent_of(call.self).weight);
  std::string text = to_json(call.self, json_layout(call));
  call.runtime.charge_bytes(std::ssize(text));
  return text;
}

constexpr Builtin kFilters[] = {
    {"abs", "", 0, run_abs},
    {"capitalize", "", 0, run_capitalize},
    {"float", "default", 0, run_float},
    {"indent", "width first blank", 0, run_indent},
    {"int", "default", 0, run_int},
    {"lower", "", 0, run_lower},
    {"replace", "old new count", 2, run_replace},
    {"round", "precision method", 0, run_round},
    {"safe", "", 0, run_safe},
    {"string", "", 0, run_string},
    {"title", "", 0, run_title},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, run_tojson},
    {"trim", "chars", 0, run_trim},
    {"upper", "", 0, run_upper},
    {"wordcount", "", 0, run_wordcount},
};

}  // namespace

std::span<const Builtin> text_filters() {
  return kFilters;
}

}  // namespace lychee::text::jinja
