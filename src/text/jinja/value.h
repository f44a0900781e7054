#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace lychee::text::jinja {

struct BoundMethod;
struct LoopState;
struct Macro;
struct Map;
struct Namespace;
struct Sequence;

// A name that has no value. `what` says which, for the error of whoever insists on one.
struct Undefined {
  std::shared_ptr<const std::string> what;
};

struct None {};

// A function of the template environment, by name: range, namespace, …
struct Function {
  std::string_view name;
};

// A value of the template language, with Python's semantics. Cheap to copy: strings and containers
// are shared and never change, so values hold no cycle. Namespaces, which do change, belong to the
// rendering (Arena) and are pointed to.
class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using Storage =
      std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<Sequence>,
                   std::shared_ptr<const Map>, Namespace*, std::shared_ptr<const LoopState>,
                   const Macro*, Function, std::shared_ptr<const BoundMethod>>;

  Value() = default;  // undefined
  Value(Storage storage) : storage_(std::move(storage)) {}
  Value(bool value) : storage_(value) {}
  Value(int value) : storage_(int64_t{value}) {}
  Value(int64_t value) : storage_(value) {}
  Value(double value) : storage_(value) {}
  Value(std::string text) : storage_(std::make_shared<const std::string>(std::move(text))) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}

  [[nodiscard]] static Value none() { return Storage(None{}); }
  [[nodiscard]] static Value undefined(std::string what);

  template <typename T>
  [[nodiscard]] bool is() const {
    return std::holds_alternative<T>(storage_);
  }
  template <typename T>
  [[nodiscard]] const T* get_if() const {
    return std::get_if<T>(&storage_);
  }
  [[nodiscard]] const Storage& storage() const { return storage_; }
  [[nodiscard]] bool is_undefined() const { return is<Undefined>(); }
  [[nodiscard]] bool is_none() const { return is<None>(); }
  [[nodiscard]] bool is_bool() const { return is<bool>(); }
  [[nodiscard]] bool is_float() const { return is<double>(); }
  [[nodiscard]] bool is_callable() const;
  // As in Python, true and false are numbers.
  [[nodiscard]] bool is_integral() const { return is<int64_t>() || is<bool>(); }
  [[nodiscard]] bool is_number() const { return is_integral() || is_float(); }

  // Null when the value is of another type.
  [[nodiscard]] const std::string* text() const;
  [[nodiscard]] Sequence* sequence() const;
  [[nodiscard]] const Map* map() const;
  [[nodiscard]] std::optional<int64_t> integer() const;  // of an int or bool
  [[nodiscard]] double number() const;                   // of any number; else 0

 private:
  Storage storage_;
};

using Values = std::vector<Value>;

enum class SequenceKind { kList, kTuple, kRange, kGenerator, kKeys, kValues, kItems };

// How large a value is when written out, shared parts counted as often as they occur.
struct Extent {
  int depth = 0;       // containers in containers
  int64_t weight = 1;  // bytes of text, and one per value
};

// What can be iterated. A generator is truthy, has no length, and gives its items once.
struct Sequence {
  Values items;
  SequenceKind kind = SequenceKind::kList;
  Extent extent;

  // Whether it is indexed and sliced.
  [[nodiscard]] bool has_positions() const {
    return kind == SequenceKind::kList || kind == SequenceKind::kTuple ||
           kind == SequenceKind::kRange;
  }
};

// A dict: keys in order of insertion.
struct Map {
  std::vector<std::pair<Value, Value>> entries;
  Extent extent;

  [[nodiscard]] const Value* find(const Value& key) const;
  [[nodiscard]] const Value* find(std::string_view key) const;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> entries;

  [[nodiscard]] const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

// What `loop` names inside a loop.
struct LoopState {
  std::shared_ptr<Sequence> items;
  int64_t index = 0;  // from 0
};

struct BoundMethod {
  Value self;
  std::string_view name;  // of the AST
};

[[nodiscard]] Extent extent_of(const Value& value);

// All that make a container throw Error(kInvalidArgument) when it is nested deeper than
// kMaxValueDepth or heavier than kMaxValueWeight.
[[nodiscard]] Value make_sequence(Values items, SequenceKind kind = SequenceKind::kList);
[[nodiscard]] Value make_pair(Value first, Value second);
// The last of equal keys wins, in the place of the first. Throws Error(kInvalidArgument) for a key
// that Python could not hash.
[[nodiscard]] Value make_map(std::vector<std::pair<Value, Value>> entries);
// The same for entries whose keys are known to be different texts.
[[nodiscard]] Value make_map_of_unique(std::vector<std::pair<Value, Value>> entries);

// Whether it can be the key of a dict.
[[nodiscard]] bool is_hashable(const Value& value);
[[nodiscard]] bool is_true(const Value& value);
[[nodiscard]] bool equal(const Value& left, const Value& right);
// Python's `left < right`. Throws Error(kInvalidArgument) for types that have no order.
[[nodiscard]] bool less(const Value& left, const Value& right);
// Python's name of the type, for messages.
[[nodiscard]] std::string_view type_name(const Value& value);

// The items of whatever iterates: characters, keys, items; a generator is empty afterwards. Throws
// Error(kInvalidArgument) for the rest.
[[nodiscard]] Values iterate(const Value& value);
// len(value). Throws Error(kInvalidArgument) where Python would.
[[nodiscard]] int64_t length(const Value& value);

// Throws Error(kInvalidArgument) "'x' is undefined" if it is.
void require_defined(const Value& value);

}  // namespace lychee::text::jinja
