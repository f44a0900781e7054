#pragma once

namespace lychee::cli {

// While it lives, Ctrl-C or SIGTERM sets a flag instead of ending the program; a second one in a
// row ends it.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  [[nodiscard]] bool interrupted() const;
};

}  // namespace lychee::cli
