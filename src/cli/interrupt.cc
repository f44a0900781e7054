#include "cli/interrupt.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction and sigaltstack are POSIX's
#include <unistd.h>

#include <algorithm>

namespace lychee::cli {

namespace {

// The signal that came, or 0. A signal handler can reach nothing but such a flag of static storage.
volatile std::sig_atomic_t interrupt_signal = 0;

void on_interrupt(int signal) {
  if (interrupt_signal != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupt_signal = signal;
}

// What the registers of a signal's frame take (AVX-512's and AMX's are over 11 KB), and the
// handler.
size_t handler_stack_bytes() {
  return static_cast<size_t>(std::max(::sysconf(_SC_MINSIGSTKSZ), 0L)) + (1 << 16);
}

}  // namespace

InterruptGuard::InterruptGuard() : stack_(handler_stack_bytes()) {
  interrupt_signal = 0;
  stack_t stack{};
  stack.ss_sp = stack_.data();
  stack.ss_size = stack_.size();
  ::sigaltstack(&stack, &previous_stack_);
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  ::sigaltstack(&previous_stack_, nullptr);
}

int InterruptGuard::signal() const {
  return interrupt_signal;
}

void InterruptGuard::throw_if_interrupted() const {
  if (interrupted()) {
    throw Interrupted(signal());
  }
}

}  // namespace lychee::cli
