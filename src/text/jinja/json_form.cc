#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "text/jinja/limits.h"
#include "text/jinja/text_form.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

class JsonWriter {
 public:
  explicit JsonWriter(const JsonLayout& layout) : layout_(layout) {}

  void write(const Value& value) {
    if (const std::string* text = value.text()) {
      write_text(*text);
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += is_true(value) ? "true" : "false";
    } else if (value.is_float()) {
      write_float(value);
    } else if (value.is_number()) {
      out_ += to_repr(value);
    } else if (const Map* map = value.map()) {
      write_map(*map);
    } else {
      const Sequence* sequence = value.sequence();
      require(sequence != nullptr &&
                  (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple),
              ErrorCode::kInvalidArgument, "tojson: a value of type ", type_name(value),
              " has no JSON form");
      write_list(*sequence);
    }
  }

  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void write_float(const Value& value) {
    if (std::isfinite(value.number())) {
      out_ += to_repr(value);
    } else {
      out_ += std::isnan(value.number()) ? "NaN" : value.number() < 0 ? "-Infinity" : "Infinity";
    }
  }

  void write_unicode_escape(int32_t code) {
    if (code >= 0x10000) {
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((code - 0x10000) >> 10),
                          0xdc00 + ((code - 0x10000) & 0x3ff));
    } else {
      out_ += fmt::format("\\u{:04x}", code);
    }
  }

  void write_text(const std::string& text) {
    out_ += '"';
    for (const std::string_view character : characters(text)) {
      const int32_t code = code_point(character);
      static constexpr std::string_view kShort = "\"\\\n\r\t\b\f";
      const size_t at = kShort.find(character.front());
      if (at != std::string_view::npos) {
        out_ += '\\';
        out_ += "\"\\nrtbf"[at];
      } else if (code >= 0 && (code < 0x20 || (layout_.ascii_only && code > 0x7e))) {
        write_unicode_escape(code);
      } else {
        out_ += character;
      }
    }
    out_ += '"';
  }

  // Key of an object: text as it is, numbers and constants as text.
  void write_key(const Value& key) {
    require(key.text() != nullptr || key.is_number() || key.is_none(), ErrorCode::kInvalidArgument,
            "tojson: a ", type_name(key), " cannot be the key of an object");
    if (key.text() != nullptr) {
      write_text(*key.text());
    } else {
      out_ += '"';
      write(key);
      out_ += '"';
    }
  }

  void write_map(const Map& map) {
    std::vector<const std::pair<Value, Value>*> entries;
    entries.reserve(map.entries.size());
    for (const auto& entry : map.entries) {
      entries.push_back(&entry);
    }
    if (layout_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [](const auto* left, const auto* right) {
        return less(left->first, right->first);
      });
    }
    write_items('{', '}', entries, [this](const auto* entry) {
      write_key(entry->first);
      out_ += layout_.key_separator;
      write(entry->second);
    });
  }

  void write_list(const Sequence& sequence) {
    write_items('[', ']', sequence.items, [this](const Value& item) { write(item); });
  }

  template <typename Items, typename WriteItem>
  void write_items(char open, char close, const Items& items, const WriteItem& write_item) {
    out_ += open;
    ++level_;
    bool first = true;
    for (const auto& item : items) {
      if (!first) {
        out_ += layout_.item_separator;
      }
      first = false;
      break_line();
      write_item(item);
    }
    --level_;
    if (!items.empty()) {
      break_line();
    }
    out_ += close;
  }

  void break_line() {
    if (layout_.multiline) {
      out_ += '\n';
      for (int i = 0; i < level_; ++i) {
        out_ += layout_.indent;
      }
    }
  }

  const JsonLayout& layout_;
  std::string out_;
  int level_ = 0;
};

Value convert(const nlohmann::ordered_json& json, int depth) {
  using Type = nlohmann::ordered_json::value_t;
  require(depth < kMaxValueDepth, ErrorCode::kInvalidArgument,
          "template variables are nested deeper than ", kMaxValueDepth, " levels");
  switch (json.type()) {
    case Type::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, value] : json.items()) {
        entries.emplace_back(Value(key), convert(value, depth + 1));
      }
      return make_map_of_unique(std::move(entries));
    }
    case Type::array: {
      Values items;
      for (const auto& item : json) {
        items.push_back(convert(item, depth + 1));
      }
      return make_sequence(std::move(items));
    }
    case Type::string:
      return json.get_ref<const std::string&>();
    case Type::boolean:
      return json.get<bool>();
    case Type::number_unsigned:
      require(json.get<uint64_t>() <= uint64_t{INT64_MAX}, ErrorCode::kInvalidArgument,
              "template variables hold the integer ", json.get<uint64_t>(), ", beyond 64 bits");
      return static_cast<int64_t>(json.get<uint64_t>());
    case Type::number_integer:
      return json.get<int64_t>();
    case Type::number_float:
      return json.get<double>();
    default:
      return Value::none();
  }
}

}  // namespace

std::string to_json(const Value& value, const JsonLayout& layout) {
  JsonWriter writer(layout);
  writer.write(value);
  return writer.take();
}

Value from_json(const nlohmann::ordered_json& json) {
  return convert(json, 0);
}

}  // namespace lychee::text::jinja
