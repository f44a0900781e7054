#include "bench/engine_bench.h"

#include <algorithm>
#include <random>
#include <string>

#include "base/check.h"
#include "base/math.h"
#include "bench/device_timer.h"
#include "bench/stopwatch.h"
#include "kernels/attention/params.h"
#include "model/kv_cache.h"
#include "tensor/device.h"

namespace lychee::bench {

namespace {

constexpr int kWarmUpSteps = 3;

GenerationOptions dense_options() {
  GenerationOptions options;
  options.policy = Policy::kDense;
  return options;
}

// Sequences that decode in step and go back to their length after each, so that every step has the
// same work.
class Stepper {
 public:
  Stepper(Engine& engine, std::span<const Sequence> past, const GenerationOptions& options)
      : engine_(engine) {
    for (const Sequence& sequence : past) {
      sequences_.push_back(engine.fork(sequence, options));
    }
    for (Sequence& sequence : sequences_) {
      pointers_.push_back(&sequence);
    }
    ids_.assign(sequences_.size(), 0);
  }

  // Microseconds of one decode step and the draw of the tokens that come next.
  double step() {
    const Stopwatch watch;
    engine_.decode(pointers_, ids_);
    for (size_t i = 0; i < sequences_.size(); ++i) {
      ids_[i] = engine_.sample(sequences_[i]);
    }
    const double us = watch.us();
    for (Sequence& sequence : sequences_) {
      engine_.truncate(sequence, sequence.length() - 1);
    }
    return us;
  }

  [[nodiscard]] DecodeStats stats() const {
    DecodeStats total;
    for (const Sequence& sequence : sequences_) {
      total.kv_bytes_read += sequence.stats().kv_bytes_read;
      total.kv_bytes_read_dense += sequence.stats().kv_bytes_read_dense;
      total.decode_steps = sequence.stats().decode_steps;
    }
    return total;
  }

 private:
  Engine& engine_;
  std::vector<Sequence> sequences_;
  std::vector<Sequence*> pointers_;
  std::vector<int32_t> ids_;
};

std::vector<int32_t> random_ids(int64_t count, int vocab_size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  }
  return ids;
}

// Of the matrices (the output projection once, for the last token) and of causal attention.
double prefill_flop(const ModelInfo& model, double tokens) {
  const double linear = 2.0 * static_cast<double>(model.layer_parameters) * tokens +
                        2.0 * model.vocab_size * model.hidden_size;
  const double pairs = tokens * (tokens + 1) / 2;
  return linear + 4.0 * model.num_layers * model.num_q_heads * model.head_dim * pairs;
}

}  // namespace

EngineBench::EngineBench(Engine& engine, uint64_t seed, int repeats)
    : engine_(engine), seed_(seed), repeats_(repeats) {
  require(repeats >= 1, ErrorCode::kInvalidArgument, "repeats ", repeats, " must be at least 1");
}

int64_t EngineBench::cache_tokens(int64_t context, int batch, Policy policy) {
  // Sequences share the noise, and write the fed token to a page of their own.
  const int64_t pages =
      model::sequence_pages(std::max<int64_t>(context, 1), policy == Policy::kPageBound);
  int64_t tokens = 0;
  require(checked_mul(pages * attention::kPageSize, int64_t{batch}, tokens),
          ErrorCode::kInvalidArgument, "batch ", batch, " of context ", context,
          " is beyond any memory");
  return tokens;
}

MemoryRates EngineBench::rates(int64_t bytes) {
  if (engine_.model().device != "cuda") {
    return ruler_.measure(bytes);
  }
  if (!gpu_rates_) {
    // More than this reads no faster; a cache that took all memory leaves less.
    constexpr int64_t kEnough = int64_t{1} << 30;
    constexpr int kRepeats = 15;
    const int64_t size = std::clamp(query_cuda().free_bytes / 4, int64_t{1} << 20, kEnough);
    gpu_rates_ = DeviceTimer(kRepeats).rates(size);
  }
  return *gpu_rates_;
}

std::vector<Sequence> EngineBench::noise(int64_t context, int batch) {
  std::vector<Sequence> sequences;
  sequences.reserve(static_cast<size_t>(batch));
  for (int i = 0; i < batch; ++i) {
    sequences.push_back(engine_.create_sequence(dense_options()));
    engine_.fill_cache_with_noise(sequences.back(), std::max<int64_t>(context, 1) - 1,
                                  seed_ + static_cast<uint64_t>(i));
  }
  return sequences;
}

std::vector<Row> EngineBench::decode(int64_t context, int batch,
                                     std::span<const GenerationOptions> policies) {
  require(context >= 0, ErrorCode::kInvalidArgument, "context ", context, " must not be negative");
  require(batch >= 1, ErrorCode::kInvalidArgument, "batch ", batch, " must be at least 1");
  const std::vector<Sequence> past = noise(context, batch);
  std::vector<Row> rows;
  for (const GenerationOptions& options : policies) {
    rows.push_back(decode_row(past, options));
    rows.back().context = context;
  }
  return rows;
}

Row EngineBench::decode_row(std::span<const Sequence> past, const GenerationOptions& options) {
  require(options.cache_correction == 0, ErrorCode::kInvalidArgument, "a cache correction every ",
          options.cache_correction,
          " tokens cannot be measured: every step goes back to where it began; set it to 0");
  Stepper stepper(engine_, past, options);
  for (int i = 0; i < kWarmUpSteps; ++i) {
    stepper.step();
  }
  std::vector<double> us;
  us.reserve(static_cast<size_t>(repeats_));
  for (int i = 0; i < repeats_; ++i) {
    us.push_back(stepper.step());
  }
  const DecodeStats stats = stepper.stats();
  Measurement found;
  found.op = "decode";
  found.context = past.front().length() + 1;
  found.batch = static_cast<int>(past.size());
  found.policy = policy_name(options.policy);
  found.weights = engine_.model().weights;
  found.kv_dtype = engine_.model().kv_dtype;
  found.bytes = static_cast<double>(engine_.model().weight_bytes_per_step) +
                stats.kv_bytes_read / static_cast<double>(stats.decode_steps);
  found.tokens = found.batch;
  found.kv_read = stats.kv_read();
  found.us = spread_of(us);
  found.memory = rates(static_cast<int64_t>(found.bytes));
  return make_row(found);
}

Row EngineBench::prefill(int64_t context) {
  require(context >= 1, ErrorCode::kInvalidArgument, "context ", context,
          ": a prefill needs at least 1 token");
  const ModelInfo& model = engine_.model();
  const std::vector<int32_t> ids = random_ids(context, model.vocab_size, seed_);
  const auto run = [&](size_t count) {
    Sequence sequence = engine_.create_sequence(dense_options());
    const Stopwatch watch;
    engine_.prefill(sequence, std::span(ids).first(count));
    engine_.wait();
    return watch.us();
  };
  // A GPU's libraries compile what long prompts take when they first come.
  const size_t warm_up = model.device == "cuda" ? 8192 : 1024;
  run(std::min(ids.size(), warm_up));
  std::vector<double> us;
  us.reserve(static_cast<size_t>(repeats_));
  for (int i = 0; i < repeats_; ++i) {
    us.push_back(run(ids.size()));
  }
  Measurement found;
  found.op = "prefill";
  found.context = context;
  found.policy = policy_name(Policy::kDense);
  found.weights = engine_.model().weights;
  found.kv_dtype = model.kv_dtype;
  found.bytes = static_cast<double>(model.weight_bytes_per_step);
  found.tokens = context;
  found.flop = prefill_flop(model, static_cast<double>(context));
  found.us = spread_of(us);
  found.memory = rates(model.weight_bytes_per_step);
  return make_row(found);
}

bool EngineBench::faster_than_dense(int64_t kv_len, const GenerationOptions& policy,
                                    Crossover& crossover) {
  const GenerationOptions policies[] = {dense_options(), policy};
  std::vector<Row> rows = decode(kv_len, 1, policies);
  const bool faster = rows[1].us.median < rows[0].us.median;
  for (Row& row : rows) {
    row.op = "crossover";
    crossover.rows.push_back(std::move(row));
  }
  return faster;
}

EngineBench::Crossover EngineBench::crossover(GenerationOptions policy) {
  require(
      policy.policy != Policy::kDense, ErrorCode::kInvalidArgument,
      "a crossover needs a policy to hold against dense: give --policy, with --heads for hybrid");
  policy.dense_below = 0;  // else the policy would run dense where it is to be measured
  // The dense and the policy's sequence share the past, and write to pages of their own.
  constexpr int64_t kOwnPages = 4;
  int64_t room = engine_.cache_capacity() - kOwnPages * attention::kPageSize;
  if (policy.policy == Policy::kPageBound) {  // beside the summaries
    room -= ceil_div(room, int64_t{attention::kBoundPageSize});
  }
  const int64_t longest = std::min(engine_.model().context_length, room);
  // At kv_len <= budget the policies read what dense reads.
  const int64_t shortest = policy.selection.budget;
  require(shortest < longest, ErrorCode::kInvalidArgument, "budget ", shortest,
          " leaves nothing to measure: sequences here go up to ", longest,
          " tokens; give a smaller --budget, or more --max-cache-tokens");
  Crossover result;
  result.dense_up_to = longest;
  int64_t slower = shortest;
  int64_t probe = shortest;
  while (!result.found && probe < longest) {
    int64_t power = 1;
    while (power <= probe) {
      power *= 2;
    }
    probe = std::min(power, longest);
    result.found = faster_than_dense(probe, policy, result);
    if (!result.found) {
      slower = probe;
    }
  }
  if (!result.found) {
    return result;
  }
  int64_t faster = probe;
  // Finer than a sixteenth the medians no longer tell the two apart.
  while (faster - slower > std::max<int64_t>(64, slower / 16)) {
    const int64_t middle = slower + (faster - slower) / 2;
    (faster_than_dense(middle, policy, result) ? faster : slower) = middle;
  }
  result.dense_up_to = slower;
  return result;
}

}  // namespace lychee::bench
