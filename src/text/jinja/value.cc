#include "text/jinja/value.h"

#include <algorithm>

#include "base/check.h"
#include "text/jinja/limits.h"
#include "text/jinja/unicode.h"

namespace lychee::text::jinja {
namespace {

// Adds what a container holds to the container's extent.
void include(Extent& container, const Value& item) {
  const Extent extent = extent_of(item);
  container.depth = std::max(container.depth, extent.depth + 1);
  container.weight += extent.weight;
  require(container.depth <= kMaxValueDepth, ErrorCode::kInvalidArgument,
          "values are nested deeper than ", kMaxValueDepth, " levels");
  require(container.weight <= kMaxValueWeight, ErrorCode::kInvalidArgument,
          "a value is larger than ", kMaxValueWeight, " bytes");
}

}  // namespace

Value Value::undefined(std::string what) {
  return Storage(Undefined{std::make_shared<const std::string>(std::move(what))});
}

bool Value::is_callable() const {
  return is<Function>() || is<const Macro*>() || is<std::shared_ptr<const BoundMethod>>();
}

const std::string* Value::text() const {
  const Text* text = std::get_if<Text>(&storage_);
  return text != nullptr ? text->get() : nullptr;
}

Sequence* Value::sequence() const {
  const auto* sequence = std::get_if<std::shared_ptr<Sequence>>(&storage_);
  return sequence != nullptr ? sequence->get() : nullptr;
}

const Map* Value::map() const {
  const auto* map = std::get_if<std::shared_ptr<const Map>>(&storage_);
  return map != nullptr ? map->get() : nullptr;
}

std::optional<int64_t> Value::integer() const {
  if (const int64_t* value = std::get_if<int64_t>(&storage_)) {
    return *value;
  }
  if (const bool* value = std::get_if<bool>(&storage_)) {
    return *value ? 1 : 0;
  }
  return std::nullopt;
}

double Value::number() const {
  if (const double* value = std::get_if<double>(&storage_)) {
    return *value;
  }
  return static_cast<double>(integer().value_or(0));
}

const Value* Map::find(const Value& key) const {
  for (const auto& [name, value] : entries) {
    if (equal(name, key)) {
      return &value;
    }
  }
  return nullptr;
}

const Value* Map::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name.text() != nullptr && *name.text() == key) {
      return &value;
    }
  }
  return nullptr;
}

const Value* Namespace::find(std::string_view name) const {
  for (const auto& [key, value] : entries) {
    if (key == name) {
      return &value;
    }
  }
  return nullptr;
}

void Namespace::set(std::string_view name, Value value) {
  for (auto& [key, old] : entries) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  entries.emplace_back(name, std::move(value));
}

Extent extent_of(const Value& value) {
  if (const std::string* text = value.text()) {
    return {.depth = 0, .weight = std::ssize(*text) + 1};
  }
  if (const Sequence* sequence = value.sequence()) {
    return sequence->extent;
  }
  if (const Map* map = value.map()) {
    return map->extent;
  }
  if (const auto* method = value.get_if<std::shared_ptr<const BoundMethod>>()) {
    return extent_of((*method)->self);
  }
  if (const auto* loop = value.get_if<std::shared_ptr<const LoopState>>()) {
    return (*loop)->items->extent;
  }
  return {};
}

Value make_sequence(Values items, SequenceKind kind) {
  auto sequence = std::make_shared<Sequence>();
  sequence->extent.depth = 1;
  for (const Value& item : items) {
    include(sequence->extent, item);
  }
  sequence->items = std::move(items);
  sequence->kind = kind;
  return Value::Storage(std::move(sequence));
}

Value make_pair(Value first, Value second) {
  Values items;
  items.push_back(std::move(first));
  items.push_back(std::move(second));
  return make_sequence(std::move(items), SequenceKind::kTuple);
}

Value make_map(std::vector<std::pair<Value, Value>> entries) {
  std::vector<std::pair<Value, Value>> unique;
  for (auto& [key, value] : entries) {
    require(is_hashable(key), ErrorCode::kInvalidArgument, "a ", type_name(key),
            " cannot be the key of a dict");
    const auto old = std::find_if(unique.begin(), unique.end(), [&key = key](const auto& entry) {
      return equal(entry.first, key);
    });
    if (old != unique.end()) {
      old->second = std::move(value);
    } else {
      unique.emplace_back(std::move(key), std::move(value));
    }
  }
  return make_map_of_unique(std::move(unique));
}

Value make_map_of_unique(std::vector<std::pair<Value, Value>> entries) {
  auto map = std::make_shared<Map>();
  map->extent.depth = 1;
  for (const auto& [key, value] : entries) {
    include(map->extent, key);
    include(map->extent, value);
  }
  map->entries = std::move(entries);
  return Value::Storage(std::shared_ptr<const Map>(std::move(map)));
}

std::string_view type_name(const Value& value) {
  struct Namer {
    std::string_view operator()(const Undefined&) const { return "undefined"; }
    std::string_view operator()(const None&) const { return "none"; }
    std::string_view operator()(bool) const { return "bool"; }
    std::string_view operator()(int64_t) const { return "int"; }
    std::string_view operator()(double) const { return "float"; }
    std::string_view operator()(const Value::Text&) const { return "str"; }
    std::string_view operator()(const std::shared_ptr<Sequence>& sequence) const {
      static constexpr std::string_view kNames[] = {
          "list", "tuple", "range", "generator", "dict_keys", "dict_values", "dict_items"};
      return kNames[static_cast<size_t>(sequence->kind)];
    }
    std::string_view operator()(const std::shared_ptr<const Map>&) const { return "dict"; }
    std::string_view operator()(Namespace*) const { return "namespace"; }
    std::string_view operator()(const std::shared_ptr<const LoopState>&) const { return "loop"; }
    std::string_view operator()(const Macro*) const { return "macro"; }
    std::string_view operator()(const Function&) const { return "function"; }
    std::string_view operator()(const std::shared_ptr<const BoundMethod>&) const {
      return "method";
    }
  };
  return std::visit(Namer{}, value.storage());
}

Values iterate(const Value& value) {
  if (Sequence* sequence = value.sequence()) {
    return sequence->kind == SequenceKind::kGenerator ? std::exchange(sequence->items, {})
                                                      : sequence->items;
  }
  Values items;
  if (const Map* map = value.map()) {
    for (const auto& [key, unused] : map->entries) {
      items.push_back(key);
    }
    return items;
  }
  if (const std::string* text = value.text()) {
    for (const std::string_view character : characters(*text)) {
      items.emplace_back(character);
    }
    return items;
  }
  require(value.is_undefined(), ErrorCode::kInvalidArgument, "a ", type_name(value),
          " cannot be iterated");
  return items;
}

int64_t length(const Value& value) {
  if (const std::string* text = value.text()) {
    return count_characters(*text);
  }
  if (const Map* map = value.map()) {
    return std::ssize(map->entries);
  }
  const Sequence* sequence = value.sequence();
  if (sequence != nullptr && sequence->kind != SequenceKind::kGenerator) {
    return std::ssize(sequence->items);
  }
  require(value.is_undefined(), ErrorCode::kInvalidArgument, "a ", type_name(value),
          " has no length");
  return 0;
}

void require_defined(const Value& value) {
  if (const auto* undefined = value.get_if<Undefined>()) {
    fail(ErrorCode::kInvalidArgument, undefined->what != nullptr ? *undefined->what : "a value",
         " is undefined");
  }
}

}  // namespace lychee::text::jinja
