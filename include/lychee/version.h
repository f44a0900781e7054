#pragma once

namespace lychee {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace lychee
