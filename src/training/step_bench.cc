#include "training/step_bench.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/memory_info.h"
#include "kernels/cpu/threads.h"
#include "samples/random.h"
#include "training/choose_backend.h"

namespace lychee::training {
namespace {

// Multiply-adds of one row with the matrices of a layer.
struct LayerSizes {
  explicit LayerSizes(const io::ModelConfig& config) {
    const double hidden = config.hidden_size;
    const double q_size = static_cast<double>(config.num_q_heads) * config.head_dim;
    const double kv_size = static_cast<double>(config.num_kv_heads) * config.head_dim;
    qkv = hidden * (q_size + 2 * kv_size);
    o = hidden * q_size;
    matrix = hidden * config.intermediate_size;
    attended = q_size;
  }
  [[nodiscard]] double all() const { return qkv + o + 3 * matrix; }

  double qkv, o;
  double matrix;    // of the MLP's three
  double attended;  // per token that a row attends to
};

std::vector<int32_t> random_tokens(samples::Random& random, int64_t count, int vocab_size) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(random.next() % static_cast<uint64_t>(vocab_size));
  }
  return tokens;
}

// As HardKuma draws them in the beginning: a twelfth is 0, a twelfth is 1.
std::vector<double> random_gates(samples::Random& random, const io::ModelConfig& config) {
  std::vector<double> z(static_cast<size_t>(config.num_layers * config.num_kv_heads), 1);
  for (size_t i = static_cast<size_t>(config.num_kv_heads); i < z.size(); ++i) {
    z[i] = std::clamp(-0.1 + 1.2 * random.share(), 0.0, 1.0);
  }
  return z;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

StepTimes medians(const std::vector<StepTimes>& steps) {
  const auto of = [&](double StepTimes::*part) {
    std::vector<double> values;
    values.reserve(steps.size());
    for (const StepTimes& step : steps) {
      values.push_back(step.*part);
    }
    return median(values);
  };
  return {of(&StepTimes::prefill), of(&StepTimes::teacher), of(&StepTimes::student),
          of(&StepTimes::loss), of(&StepTimes::backward)};
}

// Of products with the gate matrix of the first layer.
double measure_rate(Backend<float>& backend, const io::ModelConfig& config) {
  constexpr int kProducts = 10;
  constexpr int kRepeats = 3;
  const FrozenLinear& weights = backend.weights().layers[0].gate;
  const int64_t rows = backend.chunks().prefill;
  const Array<int32_t> ids = backend.make<int32_t>(rows);
  const Array<float> x = backend.make<float>(rows * weights.in_features);
  const Array<float> y = backend.make<float>(rows * weights.out_features);
  samples::Random random(1);
  const std::vector<int32_t> tokens = random_tokens(random, rows, config.vocab_size);
  backend.send(ids.data(), std::span<const int32_t>(tokens));
  backend.embed(ids.data(), rows, x.data());
  linear::LinearParams p{.num_rows = rows,
                         .in_features = weights.in_features,
                         .out_features = weights.out_features,
                         .x = x.data(),
                         .x_stride = weights.in_features,
                         .weight_dtype = weights.dtype,
                         .weight = weights.weight,
                         .bias = weights.bias,
                         .y = y.data(),
                         .y_stride = weights.out_features,
                         .accumulate = false,
                         .exact = true,
                         .workspace = nullptr};
  const Array<std::byte> workspace = backend.make<std::byte>(backend.workspace_bytes(p));
  p.workspace = workspace.data();
  backend.linear(p);
  backend.wait();
  std::vector<double> seconds;
  seconds.reserve(kRepeats);
  for (int i = 0; i < kRepeats; ++i) {
    seconds.push_back(seconds_of([&] {
      for (int j = 0; j < kProducts; ++j) {
        backend.linear(p);
      }
      backend.wait();
    }));
  }
  return 2.0 * static_cast<double>(rows) * LayerSizes(config).matrix * kProducts / median(seconds);
}

}  // namespace

StepTimes step_flop(const io::ModelConfig& config, const DistillationOptions& options) {
  const LayerSizes layer(config);
  const auto context = static_cast<double>(options.max_context);
  const auto rows = static_cast<double>(options.max_target);
  const double layers = config.num_layers;
  const double target_pairs = rows * (rows + 1) / 2;
  const double student =
      layers * (2 * layer.all() * rows + 4 * layer.attended * (rows * context + target_pairs));
  StepTimes flop;
  flop.prefill =
      layers * (2 * layer.all() * context + 4 * layer.attended * context * (context + 1) / 2);
  flop.teacher = student;
  flop.student = student;
  flop.loss =
      options.loss == Loss::kHidden ? 0 : 6.0 * config.hidden_size * config.vocab_size * rows;
  // Again: Q, K, V and the MLP's inside. Adjoints: of all matrices. Attention: the scores again,
  // the gradients of scores and queries, and for the rows those of K and V.
  flop.backward = (layers - 1) * (2 * rows * (layer.qkv + 2 * layer.matrix + layer.all()) +
                                  layer.attended * (6 * rows * context + 10 * target_pairs));
  return flop;
}

StepBench measure_step(const io::ModelFiles& files, const StepBenchOptions& options) {
  const DistillationOptions& distilled = options.distillation;
  cpu::set_num_threads(options.threads);
  const model::ModelWeights weights = model::load_weights(files);
  const std::unique_ptr<Backend<float>> backend =
      make_backend(options.device, files.config, weights, distilled);
  StepBench result;
  result.flop = step_flop(files.config, distilled);
  result.flop_per_s = measure_rate(*backend, files.config);
  Distillation<float> distillation(files.config, *backend, distilled);
  samples::Random random(options.seed);
  std::vector<StepTimes> steps;
  for (int i = -1; i < options.repeats; ++i) {  // the first warms up
    const std::vector<int32_t> context =
        random_tokens(random, distilled.max_context, files.config.vocab_size);
    const std::vector<int32_t> target =
        random_tokens(random, distilled.max_target, files.config.vocab_size);
    const std::vector<uint8_t> answers(target.size(), 1);
    StepTimes times;
    times.prefill = seconds_of([&] { distillation.set_context(context); });
    times.teacher = seconds_of([&] { distillation.set_target(target, answers); });
    times += distillation.run(random_gates(random, files.config)).times;
    if (i >= 0) {
      steps.push_back(times);
    }
  }
  result.times = medians(steps);
  result.peak_bytes = peak_memory_bytes();
  result.device_bytes = backend->device_bytes();
  return result;
}

}  // namespace lychee::training
