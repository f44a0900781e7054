#include "text/jinja/methods.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "text/jinja/text_functions.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

const std::string* optional_set(const Call& call) {
  return call.arguments[0].is_none() || !call.has(0) ? nullptr : &call.text(0);
}

Value run_strip(const Call& call) {
  const std::string* set = optional_set(call);
  return strip_right(strip_left(call.self_text(), set), set);
}
Value run_lstrip(const Call& call) {
  return strip_left(call.self_text(), optional_set(call));
}
Value run_rstrip(const Call& call) {
  return strip_right(call.self_text(), optional_set(call));
}
Value run_upper(const Call& call) {
  return to_upper(call.self_text());
}
Value run_lower(const Call& call) {
  return to_lower(call.self_text());
}
Value run_title(const Call& call) {
  return to_title(call.self_text());
}
Value run_capitalize(const Call& call) {
  return capitalize(call.self_text());
}

Value run_split(const Call& call) {
  return split(call.runtime, call.self_text(), optional_set(call), call.integer(1, -1));
}
Value run_rsplit(const Call& call) {
  return split_from_right(call.runtime, call.self_text(), optional_set(call), call.integer(1, -1));
}

Value run_splitlines(const Call& call) {
  Values lines;
  for (const std::string_view line : split_lines(call.self_text())) {
    lines.emplace_back(line);
  }
  return make_sequence(std::move(lines));
}

// Whether the text matches one of the affixes: a text or a tuple of texts.
template <typename Matches>
Value any_affix(const Call& call, const Matches& matches) {
  const Sequence* several = call[0].sequence();
  if (several == nullptr || several->kind != SequenceKind::kTuple) {
    return matches(std::string_view(call.self_text()), std::string_view(call.text(0)));
  }
  return std::any_of(several->items.begin(), several->items.end(), [&](const Value& affix) {
    return affix.text() != nullptr &&
           matches(std::string_view(call.self_text()), std::string_view(*affix.text()));
  });
}

Value run_startswith(const Call& call) {
  return any_affix(call, [](auto text, auto affix) { return text.starts_with(affix); });
}
Value run_endswith(const Call& call) {
  return any_affix(call, [](auto text, auto affix) { return text.ends_with(affix); });
}

Value run_removeprefix(const Call& call) {
  std::string_view text = call.self_text();
  text.remove_prefix(text.starts_with(call.text(0)) ? call.text(0).size() : 0);
  return text;
}
Value run_removesuffix(const Call& call) {
  std::string_view text = call.self_text();
  text.remove_suffix(text.ends_with(call.text(0)) ? call.text(0).size() : 0);
  return text;
}

Value run_replace(const Call& call) {
  return replace(call.runtime, call.self_text(), call.text(0), call.text(1), call.integer(2, -1));
}
Value run_join(const Call& call) {
  return join(call.runtime, iterate(call[0]), call.self_text(), true);
}

Value character_index(const std::string& text, size_t byte) {
  return byte == std::string::npos ? Value(-1) : Value(count_characters(text.substr(0, byte)));
}
Value run_find(const Call& call) {
  return character_index(call.self_text(), call.self_text().find(call.text(0)));
}
Value run_rfind(const Call& call) {
  return character_index(call.self_text(), call.self_text().rfind(call.text(0)));
}
Value run_count(const Call& call) {
  return count(call.self_text(), call.text(0));
}

template <typename Predicate>
bool all_characters(const std::string& text, const Predicate& holds) {
  const std::vector<std::string_view> all = characters(text);
  return !all.empty() && std::all_of(all.begin(), all.end(), [&holds](std::string_view character) {
    return holds(code_point(character));
  });
}
Value run_isspace(const Call& call) {
  return all_characters(call.self_text(), is_space);
}
Value run_isdigit(const Call& call) {
  return all_characters(call.self_text(), is_digit);
}
Value run_isalpha(const Call& call) {
  return all_characters(call.self_text(), is_letter);
}
Value run_isalnum(const Call& call) {
  return all_characters(call.self_text(),
                        [](int32_t code) { return is_digit(code) || is_letter(code); });
}
Value run_isupper(const Call& call) {
  return is_upper(call.self_text());
}
Value run_islower(const Call& call) {
  return is_lower(call.self_text());
}

Value run_get(const Call& call) {
  const Value* found = call.self.map()->find(call[0]);
  return found != nullptr ? *found : call.has(1) ? call[1] : Value::none();
}
Value run_items(const Call& call) {
  Values items;
  for (const auto& [key, value] : call.self.map()->entries) {
    items.push_back(make_pair(key, value));
  }
  return make_sequence(std::move(items), SequenceKind::kItems);
}
Value run_keys(const Call& call) {
  return make_sequence(iterate(call.self), SequenceKind::kKeys);
}
Value run_values(const Call& call) {
  Values values;
  for (const auto& [key, value] : call.self.map()->entries) {
    values.push_back(value);
  }
  return make_sequence(std::move(values), SequenceKind::kValues);
}
// Containers never change, so that a copy is the thing itself.
Value run_copy(const Call& call) {
  return call.self;
}

Value run_list_index(const Call& call) {
  const Values& items = call.self.sequence()->items;
  const auto found = std::find_if(items.begin(), items.end(),
                                  [&call](const Value& item) { return equal(item, call[0]); });
  require(found != items.end(), ErrorCode::kInvalidArgument, "index(): the list has no such item");
  return int64_t{found - items.begin()};
}
Value run_list_count(const Call& call) {
  const Values& items = call.self.sequence()->items;
  return int64_t{std::count_if(items.begin(), items.end(),
                               [&call](const Value& item) { return equal(item, call[0]); })};
}

Value run_forbidden(const Call& call) {
  fail(ErrorCode::kInvalidArgument, "templates may not change a ", type_name(call.self),
       " (a namespace can be changed)");
}

constexpr Builtin kTextMethods[] = {
    {"capitalize", "", 0, run_capitalize},
    {"count", "sub", 1, run_count},
    {"endswith", "suffix", 1, run_endswith},
    {"find", "sub", 1, run_find},
    {"isalnum", "", 0, run_isalnum},
    {"isalpha", "", 0, run_isalpha},
    {"isdigit", "", 0, run_isdigit},
    {"islower", "", 0, run_islower},
    {"isspace", "", 0, run_isspace},
    {"isupper", "", 0, run_isupper},
    {"join", "iterable", 1, run_join},
    {"lower", "", 0, run_lower},
    {"lstrip", "chars", 0, run_lstrip},
    {"removeprefix", "prefix", 1, run_removeprefix},
    {"removesuffix", "suffix", 1, run_removesuffix},
    {"replace", "old new count", 2, run_replace},
    {"rfind", "sub", 1, run_rfind},
    {"rsplit", "sep maxsplit", 0, run_rsplit},
    {"rstrip", "chars", 0, run_rstrip},
    {"split", "sep maxsplit", 0, run_split},
    {"splitlines", "", 0, run_splitlines},
    {"startswith", "prefix", 1, run_startswith},
    {"strip", "chars", 0, run_strip},
    {"title", "", 0, run_title},
    {"upper", "", 0, run_upper},
};

constexpr Builtin kMapMethods[] = {
    {"clear", "*", 0, run_forbidden},   {"copy", "", 0, run_copy},
    {"get", "key default", 1, run_get}, {"items", "", 0, run_items},
    {"keys", "", 0, run_keys},          {"pop", "*", 0, run_forbidden},
    {"popitem", "*", 0, run_forbidden}, {"setdefault", "*", 0, run_forbidden},
    {"update", "*", 0, run_forbidden},  {"values", "", 0, run_values},
};

constexpr Builtin kListMethods[] = {
    {"append", "*", 0, run_forbidden}, {"clear", "*", 0, run_forbidden},
    {"copy", "", 0, run_copy},         {"count", "value", 1, run_list_count},
    {"extend", "*", 0, run_forbidden}, {"index", "value", 1, run_list_index},
    {"insert", "*", 0, run_forbidden}, {"pop", "*", 0, run_forbidden},
    {"remove", "*", 0, run_forbidden}, {"reverse", "*", 0, run_forbidden},
    {"sort", "*", 0, run_forbidden},
};

const Builtin* find_method_of(const Value& value, std::string_view name) {
  if (value.text() != nullptr) {
    return find_builtin(kTextMethods, name);
  }
  if (value.map() != nullptr) {
    return find_builtin(kMapMethods, name);
  }
  const Sequence* sequence = value.sequence();
  const bool is_list = sequence != nullptr && (sequence->kind == SequenceKind::kList ||
                                               sequence->kind == SequenceKind::kTuple);
  return is_list ? find_builtin(kListMethods, name) : nullptr;
}

}  // namespace

std::string_view find_method(const Value& value, std::string_view name) {
  const Builtin* method = find_method_of(value, name);
  return method != nullptr ? method->name : std::string_view();
}

bool is_method(std::string_view name) {
  return find_builtin(kTextMethods, name) != nullptr ||
         find_builtin(kMapMethods, name) != nullptr || find_builtin(kListMethods, name) != nullptr;
}

Value call_method(Runtime& runtime, const BoundMethod& method, Arguments arguments) {
  const Builtin* builtin = find_method_of(method.self, method.name);
  return call_builtin(runtime, *builtin, method.self, std::move(arguments));
}

}  // namespace lychee::text::jinja
