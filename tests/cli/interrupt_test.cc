#include "cli/interrupt.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>

namespace lychee::cli {
namespace {

TEST(InterruptGuard, KeepsTheFirstSignalAndDiesOfTheSecond) {
  const InterruptGuard guard;
  EXPECT_FALSE(guard.interrupted());
  std::raise(SIGTERM);
  EXPECT_TRUE(guard.interrupted());
  EXPECT_EXIT(std::raise(SIGINT), testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptGuard, AnotherStartsAnew) {
  {
    const InterruptGuard first;
    std::raise(SIGINT);
  }
  const InterruptGuard second;
  EXPECT_FALSE(second.interrupted());
}

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
// What kernels of oneDNN do: the stack register leads into a buffer while a signal arrives.
TEST(InterruptGuard, WritesNothingWhereTheStackRegisterPoints) {
  constexpr std::byte kFilling{0x5a};
  std::array<std::byte, 1 << 17> buffer{};
  buffer.fill(kFilling);
  const InterruptGuard guard;
  long result = SYS_tgkill;
  asm volatile(
      "mov %%rsp, %%r12\n"
      "mov %[buffer], %%rsp\n"
      "syscall\n"
      "mov %%r12, %%rsp\n"
      : "+a"(result)
      : "D"(::getpid()), "S"(::gettid()),
        "d"(SIGTERM), [buffer] "r"(buffer.data() + buffer.size() / 2)
      : "rcx", "r11", "r12", "memory");
  EXPECT_EQ(result, 0);
  EXPECT_TRUE(guard.interrupted());
  for (size_t i = 0; i < buffer.size(); ++i) {
    ASSERT_EQ(buffer[i], kFilling) << "byte " << i;
  }
}
#endif

}  // namespace
}  // namespace lychee::cli
