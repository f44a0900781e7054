#include "eval/follow_task.h"

#include "base/check.h"
#include "samples/random.h"

namespace lychee::eval {
namespace {

class FollowTask : public Task {
 public:
  FollowTask(const TaskInputs& inputs, bool observe_recall)
      : encode_(inputs.encode),
        book_(inputs.book),
        decode_tokens_(inputs.decode_tokens),
        observe_recall_(observe_recall) {
    require(decode_tokens_ >= 2, ErrorCode::kInvalidArgument, "--decode-tokens ", decode_tokens_,
            "; at least 2");
  }
  [[nodiscard]] std::string name() const override {
    return observe_recall_ ? "recall" : "perplexity";
  }

  [[nodiscard]] Prompt make(const SampleId& id) const override {
    require(id.length > decode_tokens_, ErrorCode::kInvalidArgument, name(), ": length ", id.length,
            " leaves nothing before the ", decode_tokens_, " tokens of --decode-tokens");
    // All tasks that follow take the same texts.
    samples::Random random(sample_seed("follow", id));
    const int64_t start = book_->sentence_start(random.index(book_->num_words()));
    // A word has at least a token.
    std::vector<int32_t> ids = encode_(book_->excerpt(start, id.length));
    require(std::ssize(ids) >= id.length, ErrorCode::kInternal, "a word without a token");
    const auto cut = static_cast<std::ptrdiff_t>(id.length - decode_tokens_);
    Prompt prompt;
    prompt.context_ids.assign(ids.begin(), ids.begin() + cut);
    prompt.continuation.assign(ids.begin() + cut, ids.begin() + id.length);
    prompt.observe_recall = observe_recall_;
    return prompt;
  }
  double score(std::string_view, const Query&, Metrics&) const override { return 0; }

 private:
  samples::Encoder encode_;
  std::shared_ptr<const samples::Book> book_;
  int64_t decode_tokens_;
  bool observe_recall_;
};

}  // namespace

std::unique_ptr<Task> make_follow_task(const TaskInputs& inputs, bool observe_recall) {
  return std::make_unique<FollowTask>(inputs, observe_recall);
}

}  // namespace lychee::eval
