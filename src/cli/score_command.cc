#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/common_options.h"
#include "cli/number_checks.h"
#include "cli/output.h"
#include "engine/log_probs.h"
#include "eval/logits.h"

namespace lychee::cli {

namespace {

struct ScoreOptions {
  CommonOptions common;
  ModelOptions model;
  DecodingOptions decoding;
  std::string text_file;
  std::string token_ids_file;
  std::optional<int64_t> decode_from;
  int top_logprobs = 0;
  bool compare_dense = false;
};

class Scorer {
 public:
  explicit Scorer(const ScoreOptions& options)
      : options_(options), engine_(engine_options(options.model, options.common, kOneAndDense)) {
    generation_ =
        generation_options(options.decoding, options.model.model, engine_.model(), int64_t{0});
    ids_ = options.token_ids_file.empty() ? engine_.encode(read_text_file(options.text_file))
                                          : read_token_ids(options.token_ids_file);
    require(!ids_.empty(), ErrorCode::kInvalidArgument, "the text has no tokens to score");
    const auto size = std::ssize(ids_);
    decode_from_ = options.decode_from.value_or(size);
    require(decode_from_ >= 0 && decode_from_ <= size, ErrorCode::kInvalidArgument,
            "--decode-from ", decode_from_, " must be between 0 and the text's ", size, " tokens");
    check_length(engine_, options.model, std::max(decode_from_, size - 1));
    const nlohmann::ordered_json nulls(ids_.size(), nullptr);
    log_probs_ = top_log_probs_ = kl_ = agree_ = nulls;
  }

  void run() {
    const auto start = std::chrono::steady_clock::now();
    Sequence sequence = engine_.create_sequence(generation_);
    ProgressBar bar("scoring");
    const auto total = std::ssize(ids_);
    engine_.prefill(
        sequence, std::span(ids_).first(static_cast<size_t>(decode_from_)),
        [&](int64_t done, int64_t) {
          bar.update(done, total);
          return true;
        },
        [&](int64_t position, std::span<const float> logits) {
          record(static_cast<size_t>(position) + 1, logits);
        });
    std::optional<Sequence> dense;
    if (options_.compare_dense) {
      GenerationOptions dense_options;
      dense_options.policy = Policy::kDense;
      dense = engine_.fork(sequence, dense_options);
    }
    for (int64_t position = decode_from_; position + 1 < total; ++position) {
      const int32_t id = ids_[static_cast<size_t>(position)];
      engine_.decode(sequence, id);
      record(static_cast<size_t>(position) + 1, sequence.logits());
      if (dense) {
        engine_.decode(*dense, id);
        compare(static_cast<size_t>(position) + 1, dense->logits(), sequence.logits());
      }
      bar.update(position + 1, total);
    }
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    stats_ = sequence.stats();
  }

  void print() const {
    if (!options_.common.json) {
      print_text();
      return;
    }
    nlohmann::ordered_json json;
    json["token_ids"] = ids_;
    json["logprobs"] = log_probs_;
    if (options_.top_logprobs > 0) {
      json["top_logprobs"] = top_log_probs_;
    }
    if (options_.compare_dense) {
      json["kl"] = kl_;
      json["agree"] = agree_;
      json["mean_kl"] = compared_ > 0 ? nlohmann::ordered_json(sum_kl_ / compared_) : nullptr;
      json["agreement"] = compared_ > 0 ? nlohmann::ordered_json(agreed_ / compared_) : nullptr;
    }
    json["kv_read"] = stats_.kv_read();
    json["dense_steps"] = stats_.dense_steps;
    json["corrections"] = stats_.corrections;
    json["seconds"] = seconds_;
    json["options"] = describe_options(generation_, engine_, options_.model, options_.common);
    json["options"]["decode_from"] = decode_from_;
    print_json(std::move(json));
  }

 private:
  // `logits` predict the token at `position`.
  void record(size_t position, std::span<const float> logits) {
    if (position >= ids_.size()) {
      return;
    }
    const double log_prob = static_cast<double>(logits[static_cast<size_t>(ids_[position])]) -
                            engine::log_sum_exp(logits);
    log_probs_[position] = log_prob;
    sum_log_prob_ += log_prob;
    if (options_.top_logprobs > 0) {
      top_log_probs_[position] = engine::top_log_probs(logits, options_.top_logprobs);
    }
  }

  void compare(size_t position, std::span<const float> dense, std::span<const float> policy) {
    const double kl = eval::kl_divergence(eval::log_softmax(dense), eval::log_softmax(policy));
    const bool agree = eval::argmax(dense) == eval::argmax(policy);
    kl_[position] = kl;
    agree_[position] = agree;
    sum_kl_ += kl;
    agreed_ += agree ? 1 : 0;
    compared_ += 1;
  }

  void print_text() const {
    const auto scored = static_cast<double>(ids_.size() - 1);
    std::printf("tokens        %zu, decoded from %lld\n", ids_.size(),
                static_cast<long long>(decode_from_));
    if (scored > 0) {
      std::printf("perplexity    %.4f\n", std::exp(-sum_log_prob_ / scored));
    }
    if (compared_ > 0) {
      std::printf("KL to dense   %.6f\nagreement     %.4f\n", sum_kl_ / compared_,
                  agreed_ / compared_);
    }
    std::printf("KV read       %.4f\nseconds       %.2f\n", stats_.kv_read(), seconds_);
  }

  const ScoreOptions& options_;
  Engine engine_;
  GenerationOptions generation_;
  std::vector<int32_t> ids_;
  int64_t decode_from_ = 0;
  nlohmann::ordered_json log_probs_, top_log_probs_, kl_, agree_;
  double sum_log_prob_ = 0;
  double sum_kl_ = 0;
  double agreed_ = 0;
  double compared_ = 0;
  double seconds_ = 0;
  DecodeStats stats_;
};

}  // namespace

void add_score_command(CLI::App& app) {
  auto options = std::make_shared<ScoreOptions>();
  CLI::App* command =
      app.add_subcommand("score", "Log-probabilities of a text, prefilled or decoded");
  command->footer(
      "Tokens 0 … N-1 are prefilled; the rest are fed by decode steps under the policy.\n"
      "Example:\n"
      "  lycheedecode score --model smollm2 --text-file book.txt --decode-from 2000 --heads "
      "uniform:22 --budget 512 --compare-dense");
  add_model_options(*command, options->model);
  auto* text = command->add_option("--text-file", options->text_file, "Text to score; - for stdin");
  auto* ids = command->add_option("--token-ids", options->token_ids_file,
                                  "Token ids: a JSON array, or separated by white space");
  text->excludes(ids);
  command
      ->add_option("--decode-from", options->decode_from,
                   "First token fed by a decode step (default: all prefilled)")
      ->check(whole_number(0, std::numeric_limits<int64_t>::max()));
  command->add_option("--top-logprobs", options->top_logprobs, "Likeliest ids per position")
      ->check(whole_number());
  command->add_flag("--compare-dense", options->compare_dense,
                    "KL divergence and agreement with dense decoding");
  add_decoding_options(*command, options->decoding);
  add_common_options(*command, options->common);
  command->callback([options] {
    apply_common_options(options->common);
    require(!options->text_file.empty() || !options->token_ids_file.empty(),
            ErrorCode::kInvalidArgument, "score needs --text-file or --token-ids");
    Scorer scorer(*options);
    scorer.run();
    scorer.print();
  });
}

}  // namespace lychee::cli
