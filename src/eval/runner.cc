#include "eval/runner.h"

#include <algorithm>
#include <map>
#include <span>

#include "base/check.h"
#include "eval/answer.h"
#include "eval/clock.h"

namespace lychee::eval {
namespace {

SampleResult describe(const Task& task, const SampleId& id, const GenerationOptions& setting) {
  SampleResult result;
  result.task = task.name();
  result.length = id.length;
  result.sample = id.sample;
  result.policy = policy_name(setting.policy);
  result.heads = setting.head_plan ? setting.head_plan->name : "";
  if (setting.policy != Policy::kDense) {
    result.budget = setting.selection.budget;
    result.cache_correction = setting.cache_correction;
  }
  return result;
}

// Adds up what the heads of one sample report.
class RecallSums {
 public:
  explicit RecallSums(const ModelInfo& model)
      : sums_(static_cast<size_t>(model.num_layers),
              std::vector<std::pair<double, int64_t>>(static_cast<size_t>(model.num_kv_heads))) {}

  void add(const HeadRecall& recall) {
    auto& [sum, count] =
        sums_.at(static_cast<size_t>(recall.layer)).at(static_cast<size_t>(recall.kv_head));
    sum += recall.recall;
    ++count;
  }
  // Fills in result.recall and, as its score, the mean over the sparse heads.
  void report(SampleResult& result) const {
    double total = 0;
    int64_t heads = 0;
    for (const auto& layer : sums_) {
      std::vector<double>& line = result.recall.emplace_back();
      for (const auto& [sum, count] : layer) {
        line.push_back(count > 0 ? sum / static_cast<double>(count) : -1);
        total += count > 0 ? line.back() : 0;
        heads += count > 0 ? 1 : 0;
      }
    }
    result.score = heads > 0 ? total / static_cast<double>(heads) : 1;
  }

 private:
  std::vector<std::vector<std::pair<double, int64_t>>> sums_;  // [layers][kv_heads]
};

// One prompt and the settings it still has to be answered under.
class SampleRun {
 public:
  SampleRun(Engine& engine, const Task& task, const SampleId& id, const EvalOptions& options,
            const EvalProgressCallback& progress)
      : engine_(engine), task_(task), id_(id), options_(options), progress_(progress) {}

  // Fills in `results`, one for each setting; false when the callback stopped it.
  bool run(const std::vector<const GenerationOptions*>& settings,
           std::vector<SampleResult>& results) {
    prompt_ = task_.make(id_);
    Sequence context = engine_.create_sequence({});
    if (!prefill_context(context, results.front())) {
      return false;
    }
    for (SampleResult& result : results) {
      result.prompt_tokens = std::ssize(prompt_.context_ids);
      result.depth = prompt_.depth;
    }
    return prompt_.continuation.empty() ? ask(context, settings, results)
                                        : follow_text(context, settings, results);
  }

 private:
  bool keep_going(int64_t done) const {
    return !progress_ || progress_({task_.name(), id_.length, id_.sample, id_.num_samples, done,
                                    std::ssize(prompt_.context_ids)});
  }

  bool prefill_context(Sequence& context, SampleResult& first) {
    const Clock::time_point start = Clock::now();
    // The engine finishes a prompt whose last chunk is done whatever the callback says of it.
    bool going = true;
    engine_.prefill(context, prompt_.context_ids, [&](int64_t done, int64_t) {
      going = keep_going(done);
      return going;
    });
    engine_.wait();
    first.prefilled_tokens = std::ssize(prompt_.context_ids);
    first.prefill_seconds = seconds_since(start);
    return going;
  }

  KeepGoing polling() const {
    return [this] { return keep_going(std::ssize(prompt_.context_ids)); };
  }

  bool ask(const Sequence& context, const std::vector<const GenerationOptions*>& settings,
           std::vector<SampleResult>& results) {
    for (const Query& query : prompt_.queries) {
      Sequence asked = engine_.fork(context);
      if (!query.token_ids.empty()) {
        const Clock::time_point start = Clock::now();
        engine_.prefill(asked, query.token_ids);
        engine_.wait();
        results.front().prefill_seconds += seconds_since(start);
      }
      std::vector<Answer> answers;
      for (const GenerationOptions* setting : settings) {
        GenerationOptions generation = *setting;
        generation.seed = query.seed;
        generation.stop_token_ids = query.end_ids;
        answers.push_back({.sequence = engine_.fork(asked, generation)});
      }
      if (!generate_answers(engine_, task_, query, answers, options_.together, polling())) {
        return false;
      }
      for (size_t i = 0; i < answers.size(); ++i) {
        add_answer(query, answers[i], results[i]);
      }
    }
    return true;
  }

  void add_answer(const Query& query, const Answer& answer, SampleResult& result) const {
    const double share = 1 / static_cast<double>(prompt_.queries.size());
    result.references.push_back(query.references);
    result.texts.push_back(answer.text);
    Metrics metrics;
    result.score +=
        share * (query.forced.empty() ? task_.score(answer.text, query, metrics)
                                      : task_.score_forced(answer.token_ids, query, metrics));
    for (const auto& [name, value] : metrics) {
      result.metrics[name] += share * value;
    }
    add_costs(answer.sequence.stats(), answer.decode_seconds, result);
  }

  static void add_costs(const DecodeStats& stats, double seconds, SampleResult& result) {
    result.kv_bytes_read += stats.kv_bytes_read;
    result.kv_bytes_read_dense += stats.kv_bytes_read_dense;
    result.decode_steps += stats.decode_steps;
    result.decode_seconds += seconds;
  }

  // Settings are followed side by side, as many as the cache holds.
  bool follow_text(const Sequence& context, const std::vector<const GenerationOptions*>& settings,
                   std::vector<SampleResult>& results) {
    const size_t at_once = followed_at_once(settings.size());
    for (size_t first = 0; first < settings.size(); first += at_once) {
      const size_t count = std::min(at_once, settings.size() - first);
      if (!follow_settings(context, std::span(settings).subspan(first, count),
                           std::span(results).subspan(first, count))) {
        return false;
      }
    }
    return true;
  }

  // As many as leave room for a dense sequence beside them, at least one.
  [[nodiscard]] size_t followed_at_once(size_t num_settings) const {
    // Pages of 64: a copy of the context's last one, and one begun.
    constexpr int64_t kOwnTokens = 128;
    constexpr int64_t kSummarised = 16;  // tokens of a page of page-bound
    const int64_t fed = std::ssize(prompt_.continuation);
    const int64_t summaries = (std::ssize(prompt_.context_ids) + fed) / kSummarised;
    const int64_t each = fed + kOwnTokens + summaries;
    const int64_t room = (engine_.cache_capacity() - engine_.cache_tokens_in_use()) / each;
    return std::min(static_cast<size_t>(std::max<int64_t>(room - 1, 1)), num_settings);
  }

  bool follow_settings(const Sequence& context, std::span<const GenerationOptions* const> settings,
                       std::span<SampleResult> results) {
    std::vector<Followed> followed;
    std::vector<RecallSums> recall(settings.size(), RecallSums(engine_.model()));
    for (size_t i = 0; i < settings.size(); ++i) {
      GenerationOptions setting = *settings[i];
      if (prompt_.observe_recall) {
        setting.recall_observer = [&recall, i](const HeadRecall& head) { recall[i].add(head); };
      }
      followed.push_back({.sequence = engine_.fork(context, setting)});
    }
    const auto dense = std::ranges::find(settings, Policy::kDense, &GenerationOptions::policy);
    if (!follow(engine_, context, dense - settings.begin(), prompt_.continuation, followed,
                options_.together, polling())) {
      return false;
    }
    const auto steps = static_cast<double>(prompt_.continuation.size() - 1);
    for (size_t i = 0; i < followed.size(); ++i) {
      results[i].metrics = {{"nll", followed[i].nll / steps},
                            {"kl", followed[i].kl / steps},
                            {"agreement", followed[i].agreed / steps}};
      results[i].score = followed[i].agreed / steps;
      if (prompt_.observe_recall) {
        recall[i].report(results[i]);
      }
      add_costs(followed[i].sequence.stats(), followed[i].decode_seconds, results[i]);
    }
    return true;
  }

  Engine& engine_;
  const Task& task_;
  const SampleId& id_;
  const EvalOptions& options_;
  const EvalProgressCallback& progress_;
  Prompt prompt_;
};

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

  std::vector<SampleResult> run(const TaskList& tasks) {
    for (const auto& task : tasks) {
      const int samples = task->num_samples(options_.samples);
      for (const int64_t length : options_.lengths) {
        for (int sample = 0; sample < samples; ++sample) {
          if (!run_sample(*task, {length, sample, samples, options_.seed})) {
            return std::move(results_);
          }
        }
      }
    }
    return std::move(results_);
  }

 private:
  // False when the callback stopped it.
  bool run_sample(const Task& task, const SampleId& id) {
    std::vector<SampleResult> all;
    std::vector<size_t> missing;
    for (const GenerationOptions& setting : options_.settings) {
      all.push_back(describe(task, id, setting));
      const auto kept = kept_.find(all.back().key());
      if (kept != kept_.end()) {
        all.back() = kept->second;
      } else {
        missing.push_back(all.size() - 1);
      }
    }
    if (!missing.empty() && !answer_missing(task, id, missing, all)) {
      return false;
    }
    results_.insert(results_.end(), all.begin(), all.end());
    return true;
  }

  bool answer_missing(const Task& task, const SampleId& id, const std::vector<size_t>& missing,
                      std::vector<SampleResult>& all) {
    std::vector<const GenerationOptions*> settings;
    std::vector<SampleResult> results;
    for (const size_t i : missing) {
      settings.push_back(&options_.settings[i]);
      results.push_back(all[i]);
    }
    const Clock::time_point start = Clock::now();
    if (!SampleRun(engine_, task, id, options_, progress_).run(settings, results)) {
      return false;
    }
    results.front().seconds = seconds_since(start);
    for (size_t i = 0; i < missing.size(); ++i) {
      all[missing[i]] = results[i];
      if (folder_ != nullptr) {
        folder_->append(results[i]);
      }
    }
    return true;
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
  require(options.samples != 0, ErrorCode::kInvalidArgument, "eval: 0 samples; at least 1");
  require(!options.settings.empty(), ErrorCode::kInvalidArgument, "eval needs a policy");
  require(!options.lengths.empty(), ErrorCode::kInvalidArgument, "eval needs a length");
  for (const int64_t length : options.lengths) {
    require(length >= 1 && length <= model.context_length, ErrorCode::kInvalidArgument,
            "eval: length ", length, " is outside 1…", model.context_length,
            ", the model's context");
  }
}

std::vector<SampleResult> run_eval(Engine& engine, const TaskList& tasks,
                                   const EvalOptions& options, ResultFolder* folder,
                                   const EvalProgressCallback& progress) {
  require(!tasks.empty(), ErrorCode::kInvalidArgument, "eval needs a task");
  check_eval_options(options, engine.model());
  return Evaluation(engine, options, folder, progress).run(tasks);
}

}  // namespace lychee::eval
