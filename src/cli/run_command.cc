#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/memory_info.h"
#include "cli/chat_loop.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/crossover.h"
#include "cli/interrupt.h"
#include "cli/output.h"

namespace lychee::cli {

namespace {

struct RunOptions {
  CommonOptions common;
  ModelOptions model;
  DecodingOptions decoding;
  SamplingOptions sampling;
  StopOptions stop;
  std::string prompt_file;
  std::string prompt;
  std::string token_ids_file;
  std::string system;
  bool use_template = false;
  bool chat = false;
  bool compare_dense = false;
};

using Clock = std::chrono::steady_clock;

std::string joined_prompt(const RunOptions& options) {
  std::string text = options.prompt_file.empty() ? "" : read_text_file(options.prompt_file);
  if (!text.empty() && !options.prompt.empty()) {
    text += "\n\n";
  }
  return text + options.prompt;
}

std::vector<int32_t> prompt_ids(const RunOptions& options, const Engine& engine) {
  if (!options.token_ids_file.empty()) {
    return read_token_ids(options.token_ids_file);
  }
  const std::string text = joined_prompt(options);
  // A leading token that the tokenizer adds is no prompt.
  require(!text.empty(), ErrorCode::kInvalidArgument,
          "the prompt is empty; give --prompt, --prompt-file or --token-ids");
  if (!options.use_template) {
    return engine.encode(text);
  }
  std::vector<std::pair<std::string, std::string>> messages;
  if (!options.system.empty()) {
    messages.emplace_back("system", options.system);
  }
  messages.emplace_back("user", text);
  return engine.encode_chat(messages);
}

nlohmann::ordered_json to_json(const GenerationResult& result) {
  return {{"text", result.text},
          {"token_ids", result.token_ids},
          {"prompt_tokens", result.prompt_tokens},
          {"finish_reason", finish_reason_name(result.finish_reason)},
          {"ttft_s", result.ttft_s},
          {"prefill_tokens_per_s", result.prefill_tokens_per_s},
          {"decode_tokens_per_s", result.decode_tokens_per_s},
          {"kv_read", result.stats.kv_read()},
          {"dense_steps", result.stats.dense_steps},
          {"corrections", result.stats.corrections}};
}

void print_summary(const GenerationResult& result) {
  print_note(fmt::format(
      "\nprompt {} tokens at {:.0f} tokens/s · first token after {:.2f} s · {} tokens at {:.1f} "
      "tokens/s · KV read {:.3f} of dense · peak memory {}",
      result.prompt_tokens, result.prefill_tokens_per_s, result.ttft_s, result.token_ids.size(),
      result.decode_tokens_per_s, result.stats.kv_read(),
      format_bytes(static_cast<double>(peak_memory_bytes()))));
}

void print_comparison(const GenerationResult& hybrid, const GenerationResult& dense,
                      std::string_view policy) {
  print_note(fmt::format("\n{:<14}{:>12}{:>10}  answer", "policy", "tokens/s", "KV read"));
  const auto row = [](std::string_view name, const GenerationResult& result) {
    print_note(fmt::format("{:<14}{:>12.1f}{:>10.3f}  {}", name, result.decode_tokens_per_s,
                           result.stats.kv_read(), result.text));
  };
  row("dense", dense);
  row(policy, hybrid);
  if (dense.decode_tokens_per_s <= 0) {
    return;  // fewer than two tokens: no rate
  }
  print_note(fmt::format("{} decodes {:.2f} times as fast as dense here", policy,
                         hybrid.decode_tokens_per_s / dense.decode_tokens_per_s));
}

class RunSession {
 public:
  explicit RunSession(const RunOptions& options)
      : options_(options), engine_(engine_options(options.model, options.common, kOneAndDense)) {
    generation_ = generation_options(options.decoding, options.model.model, engine_.model(),
                                     stored_crossover(engine_.model()));
    apply_sampling_options(options.sampling, options.common, generation_);
    apply_stop_options(options.stop, generation_);
  }

  void chat() {
    note_missing_plan();
    run_chat_loop(engine_, generation_, options_.system);
  }

  void answer() {
    const InterruptGuard interrupt;
    const std::vector<int32_t> ids = prompt_ids(options_, engine_);
    require(!ids.empty(), ErrorCode::kInvalidArgument,
            "the prompt has no tokens; give --prompt, --prompt-file or --token-ids");
    check_length(engine_, options_.model, std::ssize(ids));
    note_missing_plan();
    const Clock::time_point start = Clock::now();
    Sequence sequence = engine_.create_sequence(generation_);
    if (!prefill(sequence, ids, interrupt)) {
      print_note("stopped while the prompt was read");
      interrupt.throw_if_interrupted();
    }
    engine_.wait();
    const double prefill_s = std::chrono::duration<double>(Clock::now() - start).count();
    // Shared pages are copied before they are written: no fork unless it is needed.
    std::optional<Sequence> past;
    if (options_.compare_dense) {
      past = engine_.fork(sequence);
    }
    GenerationResult result = engine_.generate(sequence, [&](std::string_view text) {
      if (!options_.common.json) {
        std::cout << text << std::flush;
      }
      return !interrupt.interrupted();
    });
    result.ttft_s += prefill_s;
    result.prefill_tokens_per_s = static_cast<double>(ids.size()) / prefill_s;
    report(result, past);
    if (result.finish_reason == FinishReason::kLength &&
        std::ssize(result.token_ids) < generation_.max_tokens) {
      print_note(fmt::format("stopped at {} tokens: the model's context or the KV cache is full",
                             sequence.length()));
    }
    interrupt.throw_if_interrupted();
  }

 private:
  void note_missing_plan() const {
    if (generation_.policy == Policy::kDense && !options_.decoding.policy) {
      print_note("no head plan for this model: decoding dense (give one with --heads)");
    }
  }

  bool prefill(Sequence& sequence, std::span<const int32_t> ids, const InterruptGuard& interrupt) {
    ProgressBar bar("reading the prompt");
    return engine_.prefill(sequence, ids, [&](int64_t done, int64_t total) {
      bar.update(done, total);
      return !interrupt.interrupted();
    });
  }

  [[nodiscard]] GenerationResult run_dense(const Sequence& past) {
    GenerationOptions dense = generation_;
    dense.policy = Policy::kDense;
    dense.head_plan = nullptr;
    dense.selecting_layers.clear();
    dense.cache_correction = 0;
    Sequence sequence = engine_.fork(past, dense);
    return engine_.generate(sequence);
  }

  void report(const GenerationResult& result, const std::optional<Sequence>& past) {
    if (!options_.common.json) {
      if (!engine_.model().has_tokenizer) {
        for (const int32_t id : result.token_ids) {
          std::cout << id << ' ';
        }
      }
      std::cout << '\n';
      print_summary(result);
      if (past) {
        print_comparison(result, run_dense(*past), policy_name(generation_.policy));
      }
      return;
    }
    nlohmann::ordered_json json = to_json(result);
    if (past) {
      json["dense"] = to_json(run_dense(*past));
    }
    json["peak_bytes"] = peak_memory_bytes();
    json["options"] = describe_options(generation_, engine_, options_.model, options_.common);
    print_json(std::move(json));
  }

  const RunOptions& options_;
  Engine engine_;
  GenerationOptions generation_;
};

}  // namespace

void add_run_command(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or talk, with a model");
  command->footer(
      "Examples:\n"
      "  lycheedecode run --model smollm2 --prompt-file book.txt --prompt 'Who is Mr. Knightley?' "
      "--template\n"
      "  lycheedecode run --model builtin:needle --prompt 'the pass key is 4 2 . the pass key is'\n"
      "  lycheedecode run --model smollm2 --chat --system 'Answer briefly.'");
  add_model_options(*command, options->model);
  command->add_option("--prompt-file", options->prompt_file, "Text that comes first; - for stdin");
  command->add_option("--prompt", options->prompt, "Text that follows it after a blank line");
  command->add_option("--token-ids", options->token_ids_file,
                      "Prompt as token ids: a JSON array, or ids separated by white space");
  command->add_flag("--template", options->use_template,
                    "Send the prompt as a user message through the model's chat template");
  command->get_option("--token-ids")->excludes("--template");
  command->add_option("--system", options->system, "System message, with --template or --chat");
  auto* chat = command->add_flag("--chat", options->chat,
                                 "Talk: every line is a message, the cache is kept");
  command->add_flag("--compare-dense", options->compare_dense,
                    "Answer again with dense attention and print both");
  add_decoding_options(*command, options->decoding);
  add_sampling_options(*command, options->sampling);
  add_stop_options(*command, options->stop);
  add_common_options(*command, options->common);
  for (const char* single :
       {"--json", "--prompt", "--prompt-file", "--token-ids", "--template", "--compare-dense"}) {
    chat->excludes(command->get_option(single));
  }
  command->callback([options] {
    apply_common_options(options->common);
    require(options->token_ids_file.empty() ||
                (options->prompt.empty() && options->prompt_file.empty()),
            ErrorCode::kInvalidArgument, "give either --token-ids or a text prompt, not both");
    require(options->system.empty() || options->use_template || options->chat,
            ErrorCode::kInvalidArgument, "--system needs --template or --chat");
    RunSession session(*options);
    if (options->chat) {
      session.chat();
    } else {
      session.answer();
    }
  });
}

}  // namespace lychee::cli
