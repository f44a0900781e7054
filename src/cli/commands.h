#pragma once

#include <CLI/CLI.hpp>

namespace lychee::cli {

// Each adds one subcommand; its work runs as the subcommand's callback and throws lychee::Error.
void add_run_command(CLI::App& app);
void add_score_command(CLI::App& app);
void add_tokenize_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_import_heads_command(CLI::App& app);
void add_train_heads_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_fetch_command(CLI::App& app);
void add_bench_command(CLI::App& app);

}  // namespace lychee::cli
