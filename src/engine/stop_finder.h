#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lychee::engine {

// Looks for stop strings in text that arrives in pieces. Text that may still become a stop string
// is held back.
class StopFinder {
 public:
  // Empty stop strings are ignored.
  explicit StopFinder(const std::vector<std::string>& stops);

  struct Output {
    std::string text;  // safe to show now
    bool stopped;      // a stop string was found; it and what follows are dropped
  };
  [[nodiscard]] Output push(std::string_view piece);
  // What is still held back, at the end of the stream.
  [[nodiscard]] std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string pending_;
};

}  // namespace lychee::engine
