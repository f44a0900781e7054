#pragma once

#include <source_location>
#include <sstream>

#include "lychee/error.h"

namespace lychee {

// Carries the caller's location beside the error code, so that no macro is needed.
struct At {
  ErrorCode code;
  std::source_location where;
  // Implicit on purpose: `fail(ErrorCode::kIo, …)` captures its own line.
  At(ErrorCode error_code, std::source_location location = std::source_location::current())
      : code(error_code), where(location) {}
};

// Throws lychee::Error with the concatenated parts. The source position is appended for
// ErrorCode::kInternal alone: users act on the message, maintainers on the line.
template <typename... Parts>
[[noreturn]] void fail(const At& at, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  if (at.code == ErrorCode::kInternal) {
    message << " [" << at.where.file_name() << ':' << at.where.line() << ']';
  }
  throw Error(at.code, message.str());
}

// Validates what a caller controls. Enabled in every build.
template <typename... Parts>
void require(bool ok, const At& at, const Parts&... parts) {
  if (!ok) [[unlikely]] {
    fail(at, parts...);
  }
}

}  // namespace lychee
