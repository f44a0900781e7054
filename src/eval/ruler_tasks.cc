#include "eval/ruler_tasks.h"

#include "eval/scorers.h"

namespace lychee::eval {
namespace {

class RulerTask : public Task {
 public:
  RulerTask(const samples::RulerTask& task, const TaskInputs& inputs)
      : task_(task), book_(inputs.book) {
    ruler_ = {.encode = inputs.encode, .wrap = inputs.wrap, .book = book_.get()};
    qa_ = task.hops == 1 ? inputs.squad : task.hops == 2 ? inputs.hotpotqa : nullptr;
  }
  [[nodiscard]] std::string name() const override {
    return std::string(task_.name) + (task_.hops > 0 && !qa_ ? "-synthetic" : "");
  }

  [[nodiscard]] Prompt make(const SampleId& id) const override {
    const uint64_t seed = sample_seed(name(), id);
    samples::RulerInputs inputs = ruler_;
    samples::QaSet made_up;
    inputs.qa = qa_.get();
    if (task_.hops > 0 && !qa_) {
      // A fact has more than a dozen tokens, and two stand beside each question.
      made_up = samples::synthetic_qa(task_.hops, static_cast<int>(id.length / 24) + 8, seed);
      inputs.qa = &made_up;
    }
    samples::RulerSample sample = task_.make(inputs, id.length, seed);
    Prompt prompt;
    prompt.depth = sample.depth;
    prompt.context_ids = std::move(sample.token_ids);
    prompt.queries.push_back({.token_ids = {},
                              .references = std::move(sample.references),
                              .max_tokens = task_.generated_tokens,
                              .may_settle = true});
    return prompt;
  }
  double score(std::string_view text, const Query& query, Metrics&) const override {
    return task_.any_reference ? match_any(text, query.references)
                               : match_all(text, query.references);
  }
  [[nodiscard]] bool is_settled(std::string_view text, const Query& query) const override {
    Metrics unused;
    return score(text, query, unused) == 1;
  }

 private:
  const samples::RulerTask& task_;
  std::shared_ptr<const samples::Book> book_;
  samples::RulerInputs ruler_;
  std::shared_ptr<const samples::QaSet> qa_;
};

}  // namespace

TaskList make_ruler_tasks(const std::string& name, const TaskInputs& inputs) {
  TaskList tasks;
  for (const samples::RulerTask& task : samples::ruler_tasks()) {
    if (name == "ruler" || name == task.name) {
      tasks.push_back(std::make_unique<RulerTask>(task, inputs));
    }
  }
  return tasks;
}

}  // namespace lychee::eval
