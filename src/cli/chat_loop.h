#pragma once

#include <string>

#include "lychee/engine.h"

namespace lychee::cli {

// A conversation on the terminal: each line from stdin is a message, answers go to stdout. What the
// cache already holds is not read again. Ends at end of file or /quit; Ctrl-C stops an answer.
void run_chat_loop(Engine& engine, const GenerationOptions& options, const std::string& system);

}  // namespace lychee::cli
