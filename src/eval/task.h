#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/data_file.h"
#include "samples/book.h"
#include "samples/phrase.h"
#include "samples/ruler.h"
#include "samples/sample.h"
#include "text/word_segmenter.h"

namespace lychee::eval {

// Further figures of a sample, by name.
using Metrics = std::map<std::string, double>;

// A question that follows a prompt's context.
struct Query {
  std::vector<int32_t> token_ids;
  std::vector<std::string> references;  // what the answer is scored against
  int64_t max_tokens = 0;
  std::vector<int32_t> end_ids = {};      // that end the answer, beside the model's own
  int64_t min_tokens = 0;                 // of the answer before an end token may come
  uint64_t seed = 0;                      // of sampling
  std::vector<std::string> classes = {};  // that the answer is one of
  bool may_settle = false;                // is_settled may say so before the end
  // The answer itself, where the model is told each token after it has predicted it, right or wrong
  // (teacher forcing). One slip then costs one word, not all that follow.
  std::vector<int32_t> forced = {};
};

// What a sample feeds: a context, prefilled once, and after it either questions to answer or a
// continuation to follow.
struct Prompt {
  std::vector<int32_t> context_ids;
  std::vector<Query> queries;
  double depth = 0;  // of the answer in the context, where there is one
  std::vector<int32_t> continuation;
  bool observe_recall = false;
};

// Where the sample of a task stands among all.
struct SampleId {
  int64_t length = 0;  // tokens that the prompt and what is generated may have
  int sample = 0;
  int num_samples = 1;
  uint64_t seed = 0;
};

// One kind of prompts and how their answers are scored. Immutable.
class Task {
 public:
  virtual ~Task() = default;

  [[nodiscard]] virtual std::string name() const = 0;
  // Samples there are, of those asked for; negative: all.
  [[nodiscard]] virtual int num_samples(int asked) const { return asked; }
  [[nodiscard]] virtual Prompt make(const SampleId& id) const = 0;
  // In [0, 1]. Figures that tasks add to `metrics` are averaged over the questions of a sample.
  [[nodiscard]] virtual double score(std::string_view text, const Query& query,
                                     Metrics& metrics) const = 0;
  // The same of the tokens predicted for query.forced.
  [[nodiscard]] virtual double score_forced(std::span<const int32_t>, const Query&,
                                            Metrics&) const {
    return 0;
  }
  // True when no further token can change the score.
  [[nodiscard]] virtual bool is_settled(std::string_view, const Query&) const { return false; }
};

using TaskList = std::vector<std::unique_ptr<Task>>;

// What tasks are made of.
struct TaskInputs {
  samples::Encoder encode;
  std::function<std::string(std::span<const int32_t>)> decode;
  // A user's message as the model wants it, with the beginning of the answer after it.
  std::function<std::string(std::string_view user, std::string_view answer_prefix)> wrap;
  std::shared_ptr<const samples::Book> book;       // never null
  bool own_book = false;                           // the user named a text
  std::shared_ptr<const samples::QaSet> squad;     // null: none given
  std::shared_ptr<const samples::QaSet> hotpotqa;  // null: none given
  std::vector<DataFile> data = {};                 // --data
  BadLines* bad = nullptr;                         // for its lines; never null where there is data
  int64_t decode_tokens = 128;                     // that perplexity and recall follow
  int attempts = 1;                                // at a problem of math
  samples::PhraseOptions phrase = {};
  // Jieba's data, read when a dataset counts Chinese words.
  std::filesystem::path words = text::default_word_folder();
};

// The names that `eval` takes: tasks and groups of tasks (ruler, longbench, math).
[[nodiscard]] std::vector<std::string> task_names();
// Throws Error(kInvalidArgument) for a name that is none, or data that a task lacks.
[[nodiscard]] TaskList make_tasks(const std::vector<std::string>& names, const TaskInputs& inputs);

// A number for one sample of a task: other tasks, lengths and samples have others.
[[nodiscard]] uint64_t sample_seed(const std::string& task, const SampleId& id);

}  // namespace lychee::eval
