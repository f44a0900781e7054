// Truth, equality and order of values, as Python has them.
#include <algorithm>

#include "base/check.h"
#include "text/jinja/value.h"

namespace lychee::text::jinja {
namespace {

bool is_ordered_sequence(const Sequence& sequence) {
  return sequence.kind == SequenceKind::kList || sequence.kind == SequenceKind::kTuple;
}

bool equal_maps(const Map& left, const Map& right) {
  return left.entries.size() == right.entries.size() &&
         std::all_of(left.entries.begin(), left.entries.end(), [&](const auto& entry) {
           const Value* other = right.find(entry.first);
           return other != nullptr && equal(entry.second, *other);
         });
}

}  // namespace

bool is_hashable(const Value& value) {
  if (const Sequence* sequence = value.sequence()) {
    return sequence->kind == SequenceKind::kTuple &&
           std::all_of(sequence->items.begin(), sequence->items.end(), is_hashable);
  }
  return value.map() == nullptr;
}

bool is_true(const Value& value) {
  if (value.is_number()) {
    return value.number() != 0;
  }
  if (const std::string* text = value.text()) {
    return !text->empty();
  }
  if (const Sequence* sequence = value.sequence()) {
    return sequence->kind == SequenceKind::kGenerator || !sequence->items.empty();
  }
  if (const Map* map = value.map()) {
    return !map->entries.empty();
  }
  return !value.is_undefined() && !value.is_none();
}

bool equal(const Value& left, const Value& right) {
  if (left.integer() && right.integer()) {
    return left.integer() == right.integer();
  }
  if (left.is_number() && right.is_number()) {
    return left.number() == right.number();
  }
  if (left.text() != nullptr && right.text() != nullptr) {
    return *left.text() == *right.text();
  }
  if (left.map() != nullptr && right.map() != nullptr) {
    return equal_maps(*left.map(), *right.map());
  }
  const Sequence* a = left.sequence();
  const Sequence* b = right.sequence();
  if (a != nullptr && b != nullptr) {
    return a == b ||
           (a->kind == b->kind && a->kind != SequenceKind::kGenerator &&
            std::equal(a->items.begin(), a->items.end(), b->items.begin(), b->items.end(), equal));
  }
  if (const auto* ns = left.get_if<Namespace*>()) {
    return right.is<Namespace*>() && *ns == *right.get_if<Namespace*>();
  }
  if (const auto* macro = left.get_if<const Macro*>()) {
    return right.is<const Macro*>() && *macro == *right.get_if<const Macro*>();
  }
  return (left.is_none() && right.is_none()) || (left.is_undefined() && right.is_undefined());
}

bool less(const Value& left, const Value& right) {
  require_defined(left);
  require_defined(right);
  if (left.integer() && right.integer()) {
    return *left.integer() < *right.integer();
  }
  if (left.is_number() && right.is_number()) {
    return left.number() < right.number();
  }
  if (left.text() != nullptr && right.text() != nullptr) {
    return *left.text() < *right.text();  // byte order of UTF-8 is code point order
  }
  const Sequence* a = left.sequence();
  const Sequence* b = right.sequence();
  if (a != nullptr && b != nullptr && a->kind == b->kind && is_ordered_sequence(*a)) {
    const auto [i, j] =
        std::mismatch(a->items.begin(), a->items.end(), b->items.begin(), b->items.end(), equal);
    if (i == a->items.end() || j == b->items.end()) {
      return a->items.size() < b->items.size();
    }
    return less(*i, *j);
  }
  fail(ErrorCode::kInvalidArgument, "'<' has no meaning between ", type_name(left), " and ",
       type_name(right));
}

}  // namespace lychee::text::jinja
