#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace lychee::text::jinja {

// Reads a template. Throws Error(kInvalidArgument) for a syntax error and Error(kUnsupported) for a
// construct we do not run, each with its line.
[[nodiscard]] Body parse(std::string_view source);

// Throws Error(kUnsupported) for a filter, test, method or function that we do not have, wherever
// in the template it stands.
void check_names(const Body& body);

}  // namespace lychee::text::jinja
