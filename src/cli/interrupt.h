#pragma once

#include <csignal>
#include <cstddef>
#include <exception>
#include <vector>

namespace lychee::cli {

// Thrown by a command that a signal stopped, when it has written what it had: main() then lets the
// signal end the program, so that a shell sees 128 + its number, and scripts stop.
class Interrupted : public std::exception {
 public:
  explicit Interrupted(int signal) : signal_(signal) {}
  [[nodiscard]] int signal() const { return signal_; }
  [[nodiscard]] const char* what() const noexcept override { return "interrupted"; }

 private:
  int signal_;
};

// While it lives, Ctrl-C or SIGTERM sets a flag instead of ending the program; a second one in a
// row ends it. Handlers run on a stack of their own: kernels that oneDNN makes at run time point
// the stack register into buffers, where a signal's frame would overwrite what lies below. For the
// main thread, to which the system gives a process's signals first.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  // The signal that came; 0 before.
  [[nodiscard]] int signal() const;
  [[nodiscard]] bool interrupted() const { return signal() != 0; }
  // Throws Interrupted when a signal has come.
  void throw_if_interrupted() const;

 private:
  std::vector<std::byte> stack_;
  stack_t previous_stack_{};
};

}  // namespace lychee::cli
