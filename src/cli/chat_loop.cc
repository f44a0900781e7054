#include "cli/chat_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <span>
#include <utility>
#include <vector>

#include "cli/interrupt.h"
#include "cli/output.h"

namespace lychee::cli {

namespace {

// Tokens of the conversation that the cache holds already. The last one is always fed again, so
// that there are logits.
int64_t common_prefix(std::span<const int32_t> cached, std::span<const int32_t> wanted) {
  const auto size = std::min(cached.size(), wanted.size() - 1);
  int64_t same = 0;
  while (same < static_cast<int64_t>(size) &&
         cached[static_cast<size_t>(same)] == wanted[static_cast<size_t>(same)]) {
    ++same;
  }
  return same;
}

// Makes `sequence` hold `ids`, of which it holds the first `kept`. False when interrupted.
bool read_turn(Engine& engine, Sequence& sequence, std::span<const int32_t> ids, int64_t kept,
               const InterruptGuard& interrupt) {
  ProgressBar bar("reading");
  engine.truncate(sequence, kept);
  return engine.prefill(sequence, ids.subspan(static_cast<size_t>(kept)),
                        [&](int64_t done, int64_t total) {
                          bar.update(done, total);
                          return !interrupt.interrupted();
                        });
}

// Ctrl-C stops an answer; SIGTERM means the program.
void end_if_terminated(const InterruptGuard& interrupt) {
  if (interrupt.signal() == SIGTERM) {
    interrupt.throw_if_interrupted();
  }
}

}  // namespace

void run_chat_loop(Engine& engine, const GenerationOptions& options, const std::string& system) {
  std::vector<std::pair<std::string, std::string>> messages;
  if (!system.empty()) {
    messages.emplace_back("system", system);
  }
  Sequence sequence = engine.create_sequence(options);
  print_note("Type a message; /quit or Ctrl-D ends, Ctrl-C stops an answer.");
  std::string line;
  while (std::cerr << "> " << std::flush, std::getline(std::cin, line)) {
    if (line == "/quit") {
      break;
    }
    if (line.empty()) {
      continue;
    }
    messages.emplace_back("user", line);
    const std::vector<int32_t> ids = engine.encode_chat(messages);
    const int64_t kept = common_prefix(sequence.token_ids(), ids);
    const InterruptGuard interrupt;
    if (!read_turn(engine, sequence, ids, kept, interrupt)) {
      end_if_terminated(interrupt);
      messages.pop_back();
      print_note("(stopped)");
      continue;
    }
    const GenerationResult result = engine.generate(sequence, [&](std::string_view text) {
      std::cout << text << std::flush;
      return !interrupt.interrupted();
    });
    std::cout << std::endl;
    messages.emplace_back("assistant", result.text);
    print_note(
        fmt::format("[{} of {} tokens from the cache · {} tokens at {:.1f} tokens/s · KV read "
                    "{:.3f}]",
                    kept, ids.size(), result.token_ids.size(), result.decode_tokens_per_s,
                    sequence.stats().kv_read()));
    end_if_terminated(interrupt);
  }
}

}  // namespace lychee::cli
