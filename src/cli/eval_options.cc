#include "cli/eval_options.h"

#include <limits>

#include "cli/number_checks.h"
#include "eval/task.h"
#include "io/fetch/sha256.h"

namespace lychee::cli {
namespace {

void add_task_options(CLI::App& command, EvalCommandOptions& options) {
  command.add_option("TASK", options.tasks, "Tasks to run, see below")
      ->required()
      ->check(CLI::IsMember(eval::task_names()));
  command
      .add_option("--lengths", options.lengths,
                  "Tokens of prompt and answer together: a,b,… (default 1024,8192)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(whole_number(1, std::numeric_limits<int64_t>::max()));
  command.add_option("--samples", options.samples, "Samples per task and length")
      ->check(whole_number(1))
      ->capture_default_str();
  command
      .add_option("--text-file", options.text_files,
                  "Text to hide things in or to follow (repeatable); default: two chapters of "
                  "Persuasion, and filler for needle")
      ->allow_extra_args(false);
  command.add_option("--data", options.data, "JSONL files of longbench or math (repeatable)")
      ->allow_extra_args(false);
  command.add_flag("--skip-bad", options.skip_bad, "Leave out lines of --data that cannot be used");
  command
      .add_option("--words", options.words,
                  "Folder of jieba's dict.txt and finalseg/, for longbench's Chinese words")
      ->capture_default_str();
  command.add_option("--squad", options.squad,
                     "SQuAD file (JSON) for qa_1; default: made-up facts");
  command.add_option("--hotpotqa", options.hotpotqa,
                     "HotpotQA file (JSON) for qa_2; default: made-up facts");
  command.add_flag("--raw", options.raw, "Ask without the model's chat template");
  command
      .add_option("--decode-tokens", options.decode_tokens,
                  "Tokens that perplexity and recall follow by decode steps")
      ->check(whole_number(2, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command.add_option("--attempts", options.attempts, "Answers to each problem of math")
      ->check(whole_number(1))
      ->capture_default_str();
  command.add_option("--phrases", options.phrases, "Phrases hidden in a text of phrase, 1 to 20")
      ->check(whole_number(1, 20))
      ->capture_default_str();
  command.add_option("--phrase-words", options.phrase_words, "Words of a phrase")
      ->check(whole_number(1, 1000))
      ->capture_default_str();
  command.add_option("--temperature", options.temperature, "0: greedy")
      ->check(number_between(0, 100))
      ->capture_default_str();
  command.add_option("--top-p", options.top_p, "Keep the most likely tokens up to this mass")
      ->check(number_between(0, 1))
      ->capture_default_str();
  command.add_flag("--together", options.together,
                   "Decode the settings of a prompt in one batch: sooner done; tokens/s is then "
                   "each one's share");
  command.add_option("--out", options.out,
                     "Folder for options.json, results.jsonl (a line per sample), rows.json, "
                     "rows.csv and report.html");
  command.add_flag("--resume", options.resume, "Go on where results of the same options end");
}

}  // namespace

void add_eval_options(CLI::App& command, EvalCommandOptions& options) {
  add_task_options(command, options);
  add_model_options(command, options.model);
  add_decoding_options(command, options.decoding);
  command.remove_option(command.get_option("--heads"));
  add_eval_lists(command, options.lists);
  add_common_options(command, options.common);
}

nlohmann::ordered_json describe_tasks(const EvalCommandOptions& options) {
  nlohmann::ordered_json json;
  json["tasks"] = options.tasks;
  json["lengths"] = options.lengths;
  json["samples"] = options.samples;
  json["text_files"] = options.text_files;
  json["data"] = options.data;
  json["squad"] = options.squad;
  json["hotpotqa"] = options.hotpotqa;
  json["words"] = options.words;
  json["raw"] = options.raw;
  json["together"] = options.together;
  json["decode_tokens"] = options.decode_tokens;
  json["attempts"] = options.attempts;
  json["phrases"] = options.phrases;
  json["phrase_words"] = options.phrase_words;
  json["prefill_chunk"] = options.model.prefill_chunk;  // 0: the device's default
  auto& hashes = json["files_sha256"] = nlohmann::ordered_json::object();
  std::vector<std::string> files = options.text_files;
  files.insert(files.end(), options.data.begin(), options.data.end());
  files.insert(files.end(), {options.squad, options.hotpotqa});
  for (const std::string& file : files) {
    if (!file.empty()) {
      hashes[file] = io::sha256_file(file);
    }
  }
  return json;
}

}  // namespace lychee::cli
