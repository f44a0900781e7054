#include "eval/runner.h"

#include <array>
#include <map>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "eval/scorers.h"
#include "samples/passkey.h"
#include "samples/random.h"

namespace lychee::eval {
namespace {

struct Task {
  std::string_view name;
  samples::Sample (*make)(const samples::Encoder& encode, int64_t length, double depth,
                          uint64_t seed);
  bool (*is_right)(std::string_view text, std::string_view answer);
};

constexpr std::array kTasks{Task{"passkey", samples::make_passkey, number_is_right}};

const Task& find_task(std::string_view name) {
  std::string known;
  for (const Task& task : kTasks) {
    if (task.name == name) {
      return task;
    }
    known.append(known.empty() ? "" : ", ").append(task.name);
  }
  fail(ErrorCode::kInvalidArgument, "no task '", name, "'; there is ", known);
}

// Depths from 5 % to 95 % of the filler, evenly: beyond, the answer would stand among the sink or
// recent tokens that every policy reads.
double depth_of(int sample, int samples) {
  return 0.05 + 0.9 * (static_cast<double>(sample) + 0.5) / static_cast<double>(samples);
}

uint64_t sample_seed(uint64_t seed, int64_t length, int sample) {
  samples::Random random(seed);
  samples::Random by_length(random.next() ^ static_cast<uint64_t>(length));
  samples::Random by_sample(by_length.next() ^ static_cast<uint64_t>(sample));
  return by_sample.next();
}

class Evaluation {
 public:
  Evaluation(Engine& engine, const EvalOptions& options, ResultFolder* folder,
             const EvalProgressCallback& progress)
      : engine_(engine), options_(options), folder_(folder), progress_(progress) {
    if (folder_ != nullptr) {
      for (const SampleResult& result : folder_->kept()) {
        kept_.emplace(result.key(), result);
      }
    }
  }

  std::vector<SampleResult> run() {
    for (const std::string& name : options_.tasks) {
      for (const int64_t length : options_.lengths) {
        for (int sample = 0; sample < options_.samples; ++sample) {
          if (!answer_sample(find_task(name), length, sample)) {
            return std::move(results_);
          }
        }
      }
    }
    return std::move(results_);
  }

 private:
  SampleResult describe(const Task& task, int64_t length, int sample,
                        const GenerationOptions& setting) const {
    SampleResult result;
    result.task = task.name;
    result.length = length;
    result.sample = sample;
    result.depth = depth_of(sample, options_.samples);
    result.policy = policy_name(setting.policy);
    result.heads = setting.head_plan ? setting.head_plan->name : "";
    result.budget = setting.policy == Policy::kDense ? 0 : setting.selection.budget;
    return result;
  }

  // False when the callback stopped it.
  bool answer_sample(const Task& task, int64_t length, int sample) {
    std::optional<Sequence> prompt;
    samples::Sample question;
    for (const GenerationOptions& setting : options_.settings) {
      SampleResult result = describe(task, length, sample, setting);
      const auto kept = kept_.find(result.key());
      if (kept != kept_.end()) {
        results_.push_back(kept->second);
        continue;
      }
      if (!prompt) {
        question = task.make([&](std::string_view text) { return engine_.encode(text); }, length,
                             result.depth, sample_seed(options_.seed, length, sample));
        prompt = engine_.create_sequence({});
        if (!prefill(*prompt, question, result)) {
          return false;
        }
      }
      answer(*prompt, question, setting, result);
      result.right = task.is_right(result.text, result.answer);
      results_.push_back(result);
      if (folder_ != nullptr) {
        folder_->append(result);
      }
    }
    return true;
  }

  bool prefill(Sequence& prompt, const samples::Sample& question, const SampleResult& result) {
    // The engine finishes a prompt whose last chunk is done whatever the callback says of it.
    bool going = true;
    std::vector<int32_t> ids = question.context_ids;
    ids.insert(ids.end(), question.questions.front().token_ids.begin(),
               question.questions.front().token_ids.end());
    engine_.prefill(prompt, ids, [&](int64_t done, int64_t total) {
      going = !progress_ || progress_({result.task, result.length, result.sample, done, total});
      return going;
    });
    return going;
  }

  void answer(const Sequence& prompt, const samples::Sample& question, GenerationOptions setting,
              SampleResult& result) {
    setting.max_tokens = std::ssize(question.questions.front().answer_ids);
    Sequence sequence = engine_.fork(prompt, setting);
    const GenerationResult generated = engine_.generate(sequence);
    result.prompt_tokens = prompt.length();
    result.answer = question.questions.front().answer;
    result.text = generated.text;
    result.kv_bytes_read = generated.stats.kv_bytes_read;
    result.kv_bytes_read_dense = generated.stats.kv_bytes_read_dense;
    result.decode_steps = generated.stats.decode_steps;
    result.decode_seconds =
        generated.decode_tokens_per_s > 0
            ? static_cast<double>(generated.token_ids.size() - 1) / generated.decode_tokens_per_s
            : 0;
  }

  Engine& engine_;
  const EvalOptions& options_;
  ResultFolder* folder_;
  const EvalProgressCallback& progress_;
  std::map<SampleResult::Key, SampleResult> kept_;
  std::vector<SampleResult> results_;
};

}  // namespace

void check_eval_options(const EvalOptions& options, const ModelInfo& model) {
  require(!options.tasks.empty(), ErrorCode::kInvalidArgument, "eval needs a task");
  for (const std::string& task : options.tasks) {
    static_cast<void>(find_task(task));
  }
  require(options.samples >= 1, ErrorCode::kInvalidArgument, "eval: ", options.samples,
          " samples; at least 1");
  require(!options.settings.empty(), ErrorCode::kInvalidArgument, "eval needs a policy");
  require(!options.lengths.empty(), ErrorCode::kInvalidArgument, "eval needs a length");
  for (const int64_t length : options.lengths) {
    require(length >= 1 && length <= model.context_length, ErrorCode::kInvalidArgument,
            "eval: length ", length, " is outside 1…", model.context_length,
            ", the model's context");
  }
}

std::vector<SampleResult> run_eval(Engine& engine, const EvalOptions& options, ResultFolder* folder,
                                   const EvalProgressCallback& progress) {
  check_eval_options(options, engine.model());
  return Evaluation(engine, options, folder, progress).run();
}

}  // namespace lychee::eval
