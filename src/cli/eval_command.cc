#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/eval_options.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "eval/eval_report.h"
#include "eval/rows.h"
#include "eval/ruler_tasks.h"
#include "eval/runner.h"

namespace lychee::cli {

namespace {

std::string read_text(const std::string& file) {
  std::string text = eval::read_data(file);
  require(text.find('\0') == std::string::npos, ErrorCode::kInvalidArgument, file,
          " is no text: it has a byte 0");
  require(text.find_first_not_of(" \t\r\n") != std::string::npos, ErrorCode::kInvalidArgument, file,
          " has no words");
  return text;
}

class EvalSession {
 public:
  explicit EvalSession(const EvalCommandOptions& options)
      : options_(options), engine_(engine_options(options.model, options.common, 0)) {
    for (const int64_t length : options.lengths) {  // one given twice has no more samples
      if (std::ranges::find(eval_.lengths, length) == eval_.lengths.end()) {
        eval_.lengths.push_back(length);
      }
    }
    eval_.samples = options.samples;
    eval_.seed = options.common.seed;
    eval_.together = options.together;
    eval_.settings =
        eval_settings(options.lists, options.decoding, options.model.model, engine_.model());
    for (GenerationOptions& setting : eval_.settings) {
      setting.temperature = options.temperature;
      setting.top_p = options.top_p;
    }
    check_eval_options(eval_, engine_.model());
    tasks_ = eval::make_tasks(options.tasks, task_inputs());
    if (bad_.count > 0) {
      print_note(printable(fmt::format("left out {} of --data's lines, the first since {}",
                                       bad_.count, bad_.first)));
    }
  }

  void run() {
    std::optional<eval::ResultFolder> folder;
    if (!options_.out.empty()) {
      folder.emplace(options_.out, describe(), options_.resume);
    }
    const InterruptGuard guard;
    std::optional<ProgressBar> bar;
    std::string label;
    const auto results = eval::run_eval(engine_, tasks_, eval_, folder ? &*folder : nullptr,
                                        [&](const eval::EvalProgress& progress) {
                                          const std::string next = fmt::format(
                                              "{} {} {}/{}", progress.task, progress.length,
                                              progress.sample + 1, progress.num_samples);
                                          if (next != label) {
                                            label = next;
                                            bar.emplace(label);
                                          }
                                          bar->update(progress.prompt_done, progress.prompt_total);
                                          return !guard.interrupted();
                                        });
    bar.reset();
    if (guard.interrupted()) {
      print_note(fmt::format("stopped after {} answers; {}", results.size(),
                             folder ? "they are kept in " + options_.out +
                                          ", and the same command with --resume goes on"
                                    : "with --out, --resume could go on"));
    }
    publish(results, folder ? &*folder : nullptr);
    guard.throw_if_interrupted();
  }

 private:
  eval::TaskInputs task_inputs() {
    eval::TaskInputs inputs;
    inputs.encode = [this](std::string_view text) { return engine_.encode(text); };
    inputs.decode = [this](std::span<const int32_t> ids) { return engine_.decode_text(ids, true); };
    const bool chat = !options_.raw && engine_.model().has_chat_template;
    inputs.wrap = [this, chat](std::string_view user, std::string_view answer_prefix) {
      const std::pair<std::string, std::string> message{"user", user};
      if (chat) {  // the answer begins a line
        answer_prefix.remove_prefix(
            std::min(answer_prefix.find_first_not_of(' '), answer_prefix.size()));
      }
      return (chat ? engine_.render_chat({&message, 1}) : std::string(user)).append(answer_prefix);
    };
    std::string text;
    for (const std::string& file : options_.text_files) {
      text += read_text(file) + "\n";
    }
    inputs.own_book = !options_.text_files.empty();
    inputs.book = std::make_shared<samples::Book>(inputs.own_book ? samples::Book(text)
                                                                  : samples::default_book());
    bad_.skip = options_.skip_bad;
    for (const std::string& file : options_.data) {
      inputs.data.push_back(eval::read_jsonl(file, bad_));
    }
    inputs.bad = &bad_;
    if (!options_.squad.empty()) {
      inputs.squad = std::make_shared<samples::QaSet>(
          eval::parse_squad(options_.squad, eval::read_data(options_.squad)));
    }
    if (!options_.hotpotqa.empty()) {
      inputs.hotpotqa = std::make_shared<samples::QaSet>(
          eval::parse_hotpotqa(options_.hotpotqa, eval::read_data(options_.hotpotqa)));
    }
    inputs.decode_tokens = options_.decode_tokens;
    inputs.attempts = options_.attempts;
    inputs.phrase = {.phrases = options_.phrases, .words = options_.phrase_words};
    inputs.words = options_.words;
    return inputs;
  }

  [[nodiscard]] nlohmann::ordered_json describe() const {
    nlohmann::ordered_json json =
        describe_settings(eval_.settings, engine_, options_.model, options_.common);
    json.erase("max_tokens");  // what the answer needs
    json.update(describe_tasks(options_));
    return json;
  }

  void publish(const std::vector<eval::SampleResult>& results,
               const eval::ResultFolder* folder) const {
    const std::vector<eval::EvalRow> rows = eval::summarize(results);
    nlohmann::ordered_json json;
    json["rows"] = nlohmann::ordered_json::array();
    for (const eval::EvalRow& row : rows) {
      json["rows"].push_back(eval::to_json(row));
    }
    json["totals"] = eval::to_json(eval::total(results));
    json["totals"]["bad_lines"] = bad_.count;
    json["options"] = describe();
    if (folder != nullptr) {
      folder->write("rows.json", json.dump(2) + "\n");
      folder->write("rows.csv", eval::to_csv(rows));
      folder->write("report.html", eval::render_report(results, json["options"]));
    }
    if (options_.common.json) {
      print_json(std::move(json));
    } else {
      print_table(rows, eval::total(results));
    }
  }

  static void print_table(const std::vector<eval::EvalRow>& rows, const eval::EvalTotals& totals) {
    fmt::print("{:<22}{:>7}  {:<34}{:>8} {:>8}  {:<13}{:>8}{:>10}\n", "task", "length", "setting",
               "samples", "score", "95 %", "kv read", "tokens/s");
    for (const eval::EvalRow& row : rows) {
      fmt::print("{:<22}{:>7}  {:<34}{:>8} {:>8.3f}  {:<13}{:>8.3f}{:>10.1f}", row.task, row.length,
                 row.setting(), row.samples, row.score,
                 row.interval.is_known()
                     ? fmt::format("{:.2f}…{:.2f}", row.interval.low, row.interval.high)
                     : "",
                 row.kv_read, row.tokens_per_s);
      for (const auto& [name, value] : row.metrics) {
        fmt::print("  {} {:.3g}", name, value);
      }
      fmt::print("\n");
    }
    if (rows.empty()) {
      return;
    }
    fmt::print(
        "{} prompts, {} prefills, {} tokens in {:.1f} s for {} answers decoded in {:.1f} s; {} "
        "tokens were not prefilled again; {:.1f} s in all, {:.2f} times prefill and decode steps\n",
        totals.prompts, totals.prefills, totals.prefilled_tokens, totals.prefill_seconds,
        totals.answers, totals.decode_seconds, totals.shared_tokens, totals.seconds,
        totals.overhead());
  }

  const EvalCommandOptions& options_;
  Engine engine_;
  eval::EvalOptions eval_;
  eval::BadLines bad_;
  eval::TaskList tasks_;
};

}  // namespace

void add_eval_command(CLI::App& app) {
  auto options = std::make_shared<EvalCommandOptions>();
  CLI::App* command = app.add_subcommand("eval", "Score a model on long-context tasks");
  command->footer(
      "Tasks:\n"
      "  passkey     a 5-digit key in repeated filler, by depth\n"
      "  needle      a 7-digit number in filler, or in --text-file, by depth\n"
      "  phrase      --phrases of --phrase-words in a text, all asked\n"
      "  perplexity  a text followed by decode steps, compared with dense decoding\n"
      "  recall      share of the attention mass that each sparse head's set covers\n"
      "  ruler       RULER-S: the 13 tasks of RULER over texts of our own, or one of them by "
      "name:\n"
      "              niah_single_1 … 3, niah_multikey_1 … 3, niah_multivalue, niah_multiquery,\n"
      "              vt, cwe, fwe, qa_1, qa_2\n"
      "  longbench   files of LongBench, given with --data; prompts in words of our own\n"
      "  math        problems given with --data: AIME (whole numbers) or OlympiadBench; answers\n"
      "              may fill the length; --attempts 16 --temperature 0.6 --top-p 0.95 is usual\n"
      "Every prompt is prefilled once and answered under each policy, head plan and budget.\n"
      "Examples:\n"
      "  lycheedecode eval passkey --model builtin:needle --lengths 1024,8192,65536 --budgets 512\n"
      "  lycheedecode eval passkey phrase --model smollm2 --lengths 4096 --policies "
      "dense,hybrid,streaming --heads uniform:22,random:22:1 --budgets 512,1024 --out results");
  add_eval_options(*command, *options);
  command->callback([options] {
    apply_common_options(options->common);
    require(!options->resume || !options->out.empty(), ErrorCode::kInvalidArgument,
            "--resume needs --out, the folder to go on in");
    EvalSession(*options).run();
  });
}

}  // namespace lychee::cli
