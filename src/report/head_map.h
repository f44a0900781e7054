#pragma once

#include <string>
#include <vector>

namespace lychee::report {

// The roles of a head plan as a picture: a row per layer, a column per KV head.
struct HeadMap {
  std::string title;
  std::vector<std::vector<bool>> retrieval;  // [layers][kv_heads]; true: retrieval head
};

// An SVG element; every cell names its layer, head and role when pointed at.
[[nodiscard]] std::string svg(const HeadMap& map);

}  // namespace lychee::report
