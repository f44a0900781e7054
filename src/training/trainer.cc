#include "training/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "samples/random.h"

namespace lychee::training {
namespace {

// AdamW without weight decay.
constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

// The constraint's multiplier.
constexpr double kLambdaRate = 0.001;
constexpr double kLambdaMin = 1e-12;
constexpr double kLambdaMax = 20;
constexpr double kAverageKeep = 0.9;

constexpr double kUniformLow = 0.001;
constexpr double kUniformHigh = 0.999;

constexpr int32_t kMaxSkippedInRow = 3;
constexpr int64_t kHistograms = 50;  // over a whole run

}  // namespace

double trapezoid(int64_t step, int64_t steps) {
  const double ramp = static_cast<double>(steps) / 5;
  const double rise = static_cast<double>(step) / ramp;
  const double fall = static_cast<double>(steps - step) / ramp;
  return 0.1 + 0.9 * std::min({1.0, rise, fall});
}

double density_for(int num_retrieval, int num_layers, int num_kv_heads) {
  const int most = num_layers * num_kv_heads;
  require(num_retrieval >= num_kv_heads && num_retrieval <= most, ErrorCode::kInvalidArgument,
          num_retrieval, " retrieval heads: this model can have ", num_kv_heads,
          " (layer 0 alone) to ", most);
  return static_cast<double>(num_retrieval - num_kv_heads) / most;
}

template <typename Real>
Trainer<Real>::Trainer(const io::ModelConfig& config, Distillation<Real>& distillation,
                       const TrainingData& data, const TrainerOptions& options)
    : config_(config),
      distillation_(distillation),
      data_(data),
      options_(options),
      gate_(gate_of(options.gate)),
      first_(static_cast<size_t>(config.num_kv_heads)) {
  const double most = 1 - 1.0 / config.num_layers;
  require(options.target_density >= 0 && options.target_density <= most,
          ErrorCode::kInvalidArgument, "a target density of ", options.target_density,
          " is impossible: layer 0 has no gates, so that 0 to ", most, " are left");
  require(options.steps >= 0 && options.context_reuse >= 1, ErrorCode::kInvalidArgument,
          "steps must be at least 0 and their number per context at least 1");
  const auto count = static_cast<size_t>(config.num_layers) * first_;
  state_.params.assign(count, gate_.initial());
  state_.first_moment.assign(count, {0, 0});
  state_.second_moment.assign(count, {0, 0});
}

template <typename Real>
void Trainer<Real>::load_sample() {
  times_ = {};
  const int64_t index = state_.step / options_.context_reuse;
  if (index == loaded_) {
    return;
  }
  const TrainingSample sample = data_.make(index);
  if (const std::vector<int>& budgets = options_.budgets; !budgets.empty()) {
    distillation_.set_budget(budgets[static_cast<size_t>(index) % budgets.size()]);
  }
  times_.prefill = seconds_of([&] { distillation_.set_context(sample.context); });
  times_.teacher = seconds_of([&] { distillation_.set_target(sample.target, sample.answers); });
  loaded_ = index;
}

template <typename Real>
typename Trainer<Real>::Draw Trainer<Real>::draw_gates() const {
  // A stream of its own for every step: a resumed run draws what an uninterrupted one would.
  samples::Random seeds(options_.seed + 0x6761746573ULL);
  samples::Random random(seeds.next() + static_cast<uint64_t>(state_.step));
  Draw draw;
  draw.z.assign(state_.params.size(), 1);
  draw.slope.assign(state_.params.size(), {0, 0});
  for (size_t i = first_; i < draw.z.size(); ++i) {
    const double u = std::clamp(random.share(), kUniformLow, kUniformHigh);
    const GateValue z = gate_.sample(state_.params[i], u);
    draw.z[i] = z.value;
    draw.slope[i] = z.gradient;
  }
  return draw;
}

template <typename Real>
double Trainer<Real>::add_constraint(std::vector<GateParams>& gradients, double& violation) const {
  const auto count = static_cast<double>(state_.params.size());
  double density = 0;
  std::vector<GateParams> slopes(state_.params.size(), GateParams{0, 0});
  for (size_t i = first_; i < slopes.size(); ++i) {
    const GateValue value = gate_.density(state_.params[i]);
    density += value.value / count;
    slopes[i] = value.gradient;
  }
  violation = std::max(density - options_.target_density, 0.0);
  if (violation > 0) {
    for (size_t i = first_; i < slopes.size(); ++i) {
      for (size_t which = 0; which < 2; ++which) {
        gradients[i][which] += state_.lambda * slopes[i][which] / count;
      }
    }
  }
  return density;
}

template <typename Real>
std::string Trainer<Real>::find_bad(double loss, const std::vector<GateParams>& gradients) const {
  for (size_t i = first_; i < gradients.size(); ++i) {
    if (!std::isfinite(gradients[i][0]) || !std::isfinite(gradients[i][1])) {
      return "the gradient of layer " + std::to_string(i / first_) + ", KV head " +
             std::to_string(i % first_) + " is not finite";
    }
  }
  return std::isfinite(loss) ? "" : "the loss is not finite";
}

template <typename Real>
void Trainer<Real>::update(const std::vector<GateParams>& gradients, double learning_rate) {
  ++state_.updates;
  const auto updates = static_cast<double>(state_.updates);
  const double correction1 = 1 - std::pow(kBeta1, updates);
  const double correction2 = 1 - std::pow(kBeta2, updates);
  for (size_t i = first_; i < gradients.size(); ++i) {
    for (size_t which = 0; which < 2; ++which) {
      const double gradient = gradients[i][which];
      double& first = state_.first_moment[i][which];
      double& second = state_.second_moment[i][which];
      first = kBeta1 * first + (1 - kBeta1) * gradient;
      second = kBeta2 * second + (1 - kBeta2) * gradient * gradient;
      state_.params[i][which] -=
          learning_rate * (first / correction1) / (std::sqrt(second / correction2) + kEpsilon);
    }
    gate_.clamp(state_.params[i]);
  }
}

template <typename Real>
void Trainer<Real>::skip(StepRecord& record, const std::string& reason) {
  record.skipped = 1;
  skip_reason_ = "step " + std::to_string(state_.step) + ": " + reason;
  ++state_.skipped;
  ++state_.skipped_in_row;
  require(state_.skipped_in_row < kMaxSkippedInRow, ErrorCode::kInternal, "training stopped at ",
          skip_reason_, ", as in the ", kMaxSkippedInRow - 1,
          " steps before; the last checkpoint, if there is one, is kept");
}

template <typename Real>
void Trainer<Real>::record_histogram() {
  ScoreHistogram histogram{.step = state_.step};
  const std::vector<double> all = scores();
  for (size_t i = first_; i < all.size(); ++i) {
    const int bin = std::clamp(static_cast<int>(all[i] * kScoreBins), 0, kScoreBins - 1);
    histogram.share[bin] += 1 / static_cast<double>(all.size() - first_);
  }
  state_.histograms.push_back(histogram);
}

template <typename Real>
StepRecord Trainer<Real>::step() {
  load_sample();
  const Draw draw = draw_gates();
  const DistillationResult result = distillation_.run(draw.z);
  times_ += result.times;
  std::vector<GateParams> gradients(draw.z.size(), GateParams{0, 0});
  for (size_t i = first_; i < gradients.size(); ++i) {
    gradients[i] = {result.d_z[i] * draw.slope[i][0], result.d_z[i] * draw.slope[i][1]};
  }
  StepRecord record;
  record.step = state_.step;
  record.loss = result.loss;
  record.lambda = state_.lambda;
  record.learning_rate = options_.learning_rate * trapezoid(state_.step, options_.steps);
  double violation = 0;
  record.density = add_constraint(gradients, violation);
  if (const std::string bad = find_bad(result.loss, gradients); !bad.empty()) {
    skip(record, bad);
  } else {
    state_.skipped_in_row = 0;
    update(gradients, record.learning_rate);
    state_.moving_average = kAverageKeep * state_.moving_average + (1 - kAverageKeep) * violation;
    state_.lambda = std::clamp(state_.lambda * std::exp(kLambdaRate * state_.moving_average),
                               kLambdaMin, kLambdaMax);
  }
  const std::vector<double> now = scores();
  record.num_retrieval =
      static_cast<int32_t>(std::ranges::count_if(now, [](double score) { return score > 0.5; }));
  state_.history.push_back(record);
  if (state_.step % std::max<int64_t>(options_.steps / kHistograms, 1) == 0) {
    record_histogram();
  }
  ++state_.step;
  return record;
}

template <typename Real>
std::vector<double> Trainer<Real>::scores() const {
  std::vector<double> scores(state_.params.size(), 1);
  for (size_t i = first_; i < scores.size(); ++i) {
    scores[i] = gate_.score(state_.params[i]);
  }
  return scores;
}

template <typename Real>
double Trainer<Real>::undecided() const {
  const std::vector<double> all = scores();
  const auto count = std::count_if(all.begin() + static_cast<int64_t>(first_), all.end(),
                                   [](double score) { return score > 0.1 && score < 0.9; });
  return all.size() == first_
             ? 0
             : static_cast<double>(count) / static_cast<double>(all.size() - first_);
}

template <typename Real>
HeadPlan Trainer<Real>::plan() const {
  const std::vector<double> all = scores();
  std::vector<size_t> order(all.size() - first_);
  std::iota(order.begin(), order.end(), first_);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return all[a] > all[b]; });
  if (options_.num_retrieval > 0) {
    order.resize(static_cast<size_t>(options_.num_retrieval) - first_);
  } else {
    std::erase_if(order, [&](size_t i) { return all[i] <= 0.5; });
  }
  HeadPlan plan(config_.num_layers, config_.num_kv_heads);
  for (const size_t i : order) {
    plan.set_role(static_cast<int>(i / first_), static_cast<int>(i % first_), HeadRole::kRetrieval);
  }
  return plan;
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace lychee::training
