#pragma once

#include "text/jinja/value.h"

namespace lychee::text::jinja {

// What `path` leads to from `item`: an int is a position, a text "a.b.0" attributes and positions
// in turn. `otherwise` replaces what is undefined on the way, unless undefined itself.
[[nodiscard]] Value attribute_at(const Value& item, const Value& path, const Value& otherwise);

}  // namespace lychee::text::jinja
