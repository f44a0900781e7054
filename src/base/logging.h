#pragma once

#include <string_view>

namespace lychee {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

// Process-wide log on stderr. Default level: kWarn. Thread-safe.
void set_log_level(LogLevel level);
void log_warn(std::string_view message);

}  // namespace lychee
