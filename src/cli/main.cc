#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "cli/commands.h"
#include "cli/output.h"
#include "lychee/error.h"
#include "lychee/version.h"

namespace {

int run_program(int argc, char** argv) {
  CLI::App app{
      "Long-context decoding of Llama, Mistral and Qwen checkpoints with hybrid-head sparse "
      "attention.\n"
      "A few retrieval heads read the whole context; the others read the tokens those chose."};
  app.name("lycheedecode");
  app.set_version_flag("--version", std::string("lycheedecode ") + lychee::kVersion);
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  lycheedecode fetch smollm2\n"
      "  lycheedecode run --model smollm2 --prompt-file book.txt --prompt 'Who is Emma?' "
      "--template\n"
      "  lycheedecode run --model smollm2 --chat\n"
      "  lycheedecode score --model smollm2 --text-file book.txt --decode-from 2000 --heads "
      "uniform:22 "
      "--compare-dense --json\n"
      "'lycheedecode COMMAND --help' explains a command.");
  lychee::cli::add_run_command(app);
  lychee::cli::add_score_command(app);
  lychee::cli::add_tokenize_command(app);
  lychee::cli::add_inspect_command(app);
  lychee::cli::add_eval_command(app);
  lychee::cli::add_fetch_command(app);
  lychee::cli::add_bench_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked_for = error.get_exit_code() == 0;  // --help, --version
    app.exit(error);
    return asked_for ? 0 : 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const lychee::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return lychee::cli::exit_code(error.code());
  } catch (const std::bad_alloc&) {
    std::cerr << "error: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "error: internal: " << error.what() << '\n';
  }
  return 1;
}
