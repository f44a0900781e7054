#include "method/runs.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lychee::test {

namespace {

EngineOptions engine_options(const std::string& path, KvDtype kv_dtype, int prefill_chunk) {
  EngineOptions options;
  options.model = path;
  options.device = Device::kCpu;
  options.kv_dtype = kv_dtype;
  options.exact = true;
  options.threads = 1;
  options.max_cache_tokens = 16384;
  options.prefill_chunk = prefill_chunk;
  options.load_tokenizer = false;
  return options;
}

}  // namespace

Subject::Subject(const std::string& name, KvDtype kv)
    : spec(tiny_model(name)),
      path(write_tiny_model(spec).string()),
      kv_dtype(kv),
      reference(io::open_model(path)),
      engine(engine_options(path, kv, 512)) {}

Engine Subject::open(int prefill_chunk) const {
  return Engine(engine_options(path, kv_dtype, prefill_chunk));
}

std::shared_ptr<const HeadPlan> Subject::mixed_plan() const {
  auto plan = std::make_shared<HeadPlan>(spec.num_layers, spec.num_kv_heads);
  for (int head = 0; head < spec.num_kv_heads; ++head) {
    plan->set_role(0, head, HeadRole::kRetrieval);
    // Sets of different age at the top: head 0 never selects again, head h does at layer h + 1.
    if (head > 0 && head + 1 < spec.num_layers) {
      plan->set_role(head + 1, head, HeadRole::kRetrieval);
    }
  }
  return plan;
}

std::shared_ptr<const HeadPlan> Subject::all_retrieval() const {
  auto plan = std::make_shared<HeadPlan>(spec.num_layers, spec.num_kv_heads);
  for (int layer = 0; layer < spec.num_layers; ++layer) {
    for (int head = 0; head < spec.num_kv_heads; ++head) {
      plan->set_role(layer, head, HeadRole::kRetrieval);
    }
  }
  return plan;
}

std::vector<double> log_probs_of(const Sequence& sequence) {
  std::vector<double> result;
  for (size_t id = 0; id < sequence.logits().size(); ++id) {
    result.push_back(sequence.log_prob(static_cast<int32_t>(id)));
  }
  return result;
}

LogProbs decode_all(Engine& engine, Sequence& sequence, std::span<const int32_t> token_ids) {
  LogProbs rows;
  for (const int32_t token_id : token_ids) {
    engine.decode(sequence, token_id);
    rows.push_back(log_probs_of(sequence));
  }
  return rows;
}

LogProbs run(Engine& engine, const GenerationOptions& options, std::span<const int32_t> token_ids,
             int64_t prompt) {
  Sequence sequence = engine.create_sequence(options);
  engine.prefill(sequence, token_ids.first(static_cast<size_t>(prompt)));
  return decode_all(engine, sequence, token_ids.subspan(static_cast<size_t>(prompt)));
}

double worst_difference(const LogProbs& a, const LogProbs& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.size() != b.size() || a.empty()) {
    return kInfinity;
  }
  double worst = 0;
  for (size_t row = 0; row < a.size(); ++row) {
    if (a[row].size() != b[row].size() || a[row].empty()) {
      return kInfinity;
    }
    for (size_t id = 0; id < a[row].size(); ++id) {
      const double difference = std::fabs(a[row][id] - b[row][id]);
      worst = std::isnan(difference) ? kInfinity : std::max(worst, difference);
    }
  }
  return worst;
}

GenerationOptions small_options(Policy policy, SelectMode mode, const Subject& subject) {
  GenerationOptions options;
  options.policy = policy;
  if (policy_needs_plan(policy)) {
    options.head_plan = subject.mixed_plan();
  }
  Selection& selection = options.selection;
  selection.mode = mode;
  selection.sink = 5;
  selection.recent = 17;
  selection.budget = mode == SelectMode::kBlock ? 192 : 61;
  selection.ratio = 0.17;
  selection.mass = 0.7;
  selection.threshold = 0.004;
  return options;
}

}  // namespace lychee::test
