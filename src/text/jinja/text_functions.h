#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/jinja/runtime.h"
#include "text/jinja/value.h"

namespace lychee::text::jinja {

// What methods and filters of texts share. All charge what they make.

// str.split and str.rsplit: at white space when `separator` is null; at most `limit` cuts, all when
// negative. Throws Error(kInvalidArgument) for an empty separator.
[[nodiscard]] Value split(Runtime& runtime, std::string_view text, const std::string* separator,
                          int64_t limit);
[[nodiscard]] Value split_from_right(Runtime& runtime, std::string_view text,
                                     const std::string* separator, int64_t limit);

// str.replace and str.count, also for an empty `old`, which stands between all characters.
[[nodiscard]] Value replace(Runtime& runtime, const std::string& text, const std::string& old,
                            const std::string& with, int64_t limit);
[[nodiscard]] int64_t count(const std::string& text, const std::string& part);

// Joins the texts of the items. With `only_texts`, throws Error(kInvalidArgument) for others.
[[nodiscard]] Value join(Runtime& runtime, const Values& items, const std::string& separator,
                         bool only_texts);

// Charged str() of a value.
[[nodiscard]] std::string text_of(Runtime& runtime, const Value& value);

}  // namespace lychee::text::jinja
