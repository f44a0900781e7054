#include "eval/retrieval_tasks.h"

#include "eval/scorers.h"
#include "samples/needle.h"
#include "samples/passkey.h"
#include "samples/phrase.h"

namespace lychee::eval {
namespace {

// Depths from 5 % to 95 % of the text, evenly: beyond, the answer would stand among the sink or
// recent tokens that every policy reads.
double depth_of(const SampleId& id) {
  return 0.05 + 0.9 * (static_cast<double>(id.sample) + 0.5) / static_cast<double>(id.num_samples);
}

// `forced`: the model is told the answers token by token.
Prompt as_prompt(samples::Sample sample, bool forced = false) {
  Prompt prompt;
  prompt.context_ids = std::move(sample.context_ids);
  prompt.depth = sample.questions.size() == 1 ? sample.questions.front().depth : 0;
  for (samples::Question& question : sample.questions) {
    prompt.queries.push_back({.token_ids = std::move(question.token_ids),
                              .references = {question.answer},
                              .max_tokens = std::ssize(question.answer_ids)});
    if (forced) {
      prompt.queries.back().forced = std::move(question.answer_ids);
    }
  }
  return prompt;
}

class PasskeyTask : public Task {
 public:
  explicit PasskeyTask(const TaskInputs& inputs) : encode_(inputs.encode) {}
  [[nodiscard]] std::string name() const override { return "passkey"; }
  [[nodiscard]] Prompt make(const SampleId& id) const override {
    return as_prompt(
        samples::make_passkey(encode_, id.length, depth_of(id), sample_seed(name(), id)));
  }
  double score(std::string_view text, const Query& query, Metrics&) const override {
    return number_is_right(text, query.references.front()) ? 1 : 0;
  }

 private:
  samples::Encoder encode_;
};

class NeedleTask : public Task {
 public:
  explicit NeedleTask(const TaskInputs& inputs)
      : encode_(inputs.encode), book_(inputs.own_book ? inputs.book : nullptr) {}
  [[nodiscard]] std::string name() const override { return "needle"; }
  [[nodiscard]] Prompt make(const SampleId& id) const override {
    return as_prompt(samples::make_needle(encode_, book_.get(), id.length, depth_of(id),
                                          sample_seed(name(), id)));
  }
  double score(std::string_view text, const Query& query, Metrics&) const override {
    return number_is_right(text, query.references.front()) ? 1 : 0;
  }

 private:
  samples::Encoder encode_;
  std::shared_ptr<const samples::Book> book_;  // null: filler
};

class PhraseTask : public Task {
 public:
  explicit PhraseTask(const TaskInputs& inputs)
      : encode_(inputs.encode),
        decode_(inputs.decode),
        book_(inputs.book),
        options_(inputs.phrase) {}
  [[nodiscard]] std::string name() const override { return "phrase"; }
  [[nodiscard]] Prompt make(const SampleId& id) const override {
    return as_prompt(
        samples::make_phrase(encode_, *book_, id.length, sample_seed(name(), id), options_), true);
  }
  double score(std::string_view, const Query&, Metrics&) const override { return 0; }
  double score_forced(std::span<const int32_t> said, const Query& query,
                      Metrics& metrics) const override {
    const double words = share_of_words(said, query.forced, decode_);
    metrics["words"] += words;
    return words == 1 ? 1 : 0;
  }

 private:
  samples::Encoder encode_;
  std::function<std::string(std::span<const int32_t>)> decode_;
  std::shared_ptr<const samples::Book> book_;
  samples::PhraseOptions options_;
};

}  // namespace

std::unique_ptr<Task> make_passkey_task(const TaskInputs& inputs) {
  return std::make_unique<PasskeyTask>(inputs);
}
std::unique_ptr<Task> make_needle_task(const TaskInputs& inputs) {
  return std::make_unique<NeedleTask>(inputs);
}
std::unique_ptr<Task> make_phrase_task(const TaskInputs& inputs) {
  return std::make_unique<PhraseTask>(inputs);
}

}  // namespace lychee::eval
