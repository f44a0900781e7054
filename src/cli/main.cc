#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "lychee/error.h"
#include "lychee/version.h"

namespace {

// One line about `error`: the command whose arguments were read is named as typed.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  std::string path = app.get_name();
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    path += " " + command->get_name();
  }
  // CLI11 misses the command before it looks at what stands in its place.
  const std::vector<std::string> unknown = command->remaining();
  const std::string reason = unknown.empty() || error.get_name() != "RequiredError"
                                 ? error.what()
                                 : "'" + unknown.front() + "' is no command of " + path;
  return reason + "; see '" + path + " --help'";
}

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
  lychee::cli::add_import_heads_command(app);
  lychee::cli::add_train_heads_command(app);
  lychee::cli::add_eval_command(app);
  lychee::cli::add_fetch_command(app);
  lychee::cli::add_bench_command(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      app.exit(error);
    } else {
      lychee::cli::print_error(explain(app, error));
      return 2;
    }
  } catch (const lychee::cli::Interrupted& interrupted) {
    lychee::cli::finish_stdout();
    std::raise(interrupted.signal());
    return 128 + interrupted.signal();  // the first process of a container outlives the signal
  }
  lychee::cli::finish_stdout();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const lychee::Error& error) {
    lychee::cli::print_error(error.what());
    return lychee::cli::exit_code(error.code());
  } catch (const std::bad_alloc&) {
    lychee::cli::print_error("out of memory");
  } catch (const std::exception& error) {
    lychee::cli::print_error(std::string("internal: ") + error.what());
  }
  return 1;
}
