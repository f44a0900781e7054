#include "cli/interrupt.h"

#include <csignal>

namespace lychee::cli {

namespace {

// A signal handler can reach nothing but a flag of static storage.
volatile std::sig_atomic_t interrupt_flag = 0;

void on_interrupt(int signal) {
  if (interrupt_flag != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  interrupt_flag = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupt_flag = 0;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

bool InterruptGuard::interrupted() const {
  return interrupt_flag != 0;
}

}  // namespace lychee::cli
