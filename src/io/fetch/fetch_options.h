#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace lychee::io {

// Bytes so far and in all (-1: not known). Called on the fetching thread; what it throws ends the
// fetch and travels on.
using FetchProgress = std::function<void(int64_t bytes, int64_t total)>;

struct FetchOptions {
  FetchProgress progress;
  int connect_timeout_s = 10;
  int stall_timeout_s = 30;
  std::chrono::milliseconds retry_wait{500};  // before the first retry; doubles
};

}  // namespace lychee::io
