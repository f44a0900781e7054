#include "training/plan_refiner.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"

namespace lychee::training {
namespace {

// Far beyond any step's.
constexpr int64_t kFirstSample = int64_t{1} << 40;

// Losses below this, in nats, count as this where they are divided by: what is left is noise.
constexpr double kLeastLoss = 1e-3;

// Plans of one trial. A trial costs about a quarter of a survey of SmolLM2's 87 heads.
constexpr size_t kTried = 24;
constexpr size_t kMostSwaps = 8;  // in one of them

}  // namespace

std::string head_name(int64_t entry, int num_kv_heads) {
  return std::to_string(entry / num_kv_heads) + "." + std::to_string(entry % num_kv_heads);
}

template <typename Real>
PlanRefiner<Real>::PlanRefiner(const io::ModelConfig& config, Distillation<Real>& distillation,
                               const TrainingData& data, const RefinerOptions& options)
    : config_(config),
      distillation_(distillation),
      data_(data),
      options_(options),
      first_(static_cast<size_t>(config.num_kv_heads)) {
  choose_samples();
}

// In proportion to the mixture, at least one of each kind: the sample goes to the kind that lacks
// most.
template <typename Real>
void PlanRefiner<Real>::choose_samples() {
  const auto& mixture = data_.mixture();
  require(options_.samples >= std::ssize(mixture), ErrorCode::kInvalidArgument, options_.samples,
          " samples to judge plans by are too few for ", mixture.size(),
          " kinds of data: raise --refine-samples");
  double total = 0;
  for (const auto& [task, weight] : mixture) {
    total += weight;
  }
  std::vector<int64_t> counts(mixture.size(), 0);
  std::vector<size_t> kinds;
  for (int64_t i = 0; i < options_.samples; ++i) {
    const auto lacks = [&](size_t kind) {
      return counts[kind] == 0 ? INFINITY
                               : mixture[kind].second / total * static_cast<double>(i + 1) -
                                     static_cast<double>(counts[kind]);
    };
    size_t most = 0;
    for (size_t kind = 1; kind < mixture.size(); ++kind) {
      most = lacks(kind) > lacks(most) ? kind : most;
    }
    const auto nth = static_cast<size_t>(counts[most]++);
    const std::vector<int>& budgets = options_.budgets;
    kinds.push_back(most);
    samples_.push_back({.task = mixture[most].first,
                        .index = kFirstSample + i,
                        .budget = budgets.empty() ? 0 : budgets[nth % budgets.size()],
                        .weight = mixture[most].second / total});
  }
  for (size_t i = 0; i < samples_.size(); ++i) {
    samples_[i].weight /= static_cast<double>(counts[kinds[i]]);
  }
}

template <typename Real>
void PlanRefiner<Real>::begin(const HeadPlan& plan) {
  state_ = {};
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    for (int head = 0; head < config_.num_kv_heads; ++head) {
      state_.roles.push_back(plan.role(layer, head) == HeadRole::kRetrieval ? 1 : 0);
    }
  }
}

template <typename Real>
HeadPlan PlanRefiner<Real>::plan() const {
  HeadPlan plan(config_.num_layers, config_.num_kv_heads);
  for (size_t i = first_; i < state_.roles.size(); ++i) {
    plan.set_role(static_cast<int>(i / first_), static_cast<int>(i % first_),
                  state_.roles[i] != 0 ? HeadRole::kRetrieval : HeadRole::kSparse);
  }
  return plan;
}

template <typename Real>
int64_t PlanRefiner<Real>::steps() const {
  const int64_t finished = 2 * std::ssize(state_.rounds) * options_.samples;
  return finished + (state_.flipped.empty() ? 0 : options_.samples) + state_.sample;
}

template <typename Real>
std::vector<size_t> PlanRefiner<Real>::ranked(uint8_t role) const {
  std::vector<size_t> order;
  for (size_t i = first_; i < state_.roles.size(); ++i) {
    if (state_.roles[i] == role) {
      order.push_back(i);
    }
  }
  std::ranges::stable_sort(order, {}, [&](size_t i) { return state_.flipped[i]; });
  return order;
}

template <typename Real>
std::vector<std::vector<uint8_t>> PlanRefiner<Real>::swapped_plans() const {
  std::vector<size_t> opened = ranked(0);
  std::vector<size_t> closed = ranked(1);
  opened.resize(std::min(opened.size(), kMostSwaps));
  closed.resize(std::min(closed.size(), kMostSwaps));
  // What a swap is worth, were its two changes independent.
  const auto expected = [&](const std::pair<size_t, size_t>& swap) {
    return state_.flipped[swap.first] + state_.flipped[swap.second] - 2 * state_.objective;
  };
  std::vector<Roles> plans;
  Roles roles = state_.roles;
  for (size_t i = 0; i < std::min(opened.size(), closed.size()); ++i) {
    if (i > 0 && expected({opened[i], closed[i]}) >= 0) {
      break;
    }
    std::swap(roles[opened[i]], roles[closed[i]]);
    plans.push_back(roles);
  }
  std::vector<std::pair<size_t, size_t>> pairs;
  for (const size_t open : opened) {
    for (const size_t close : closed) {
      pairs.emplace_back(open, close);
    }
  }
  std::ranges::stable_sort(pairs, {}, expected);
  for (size_t i = 1; i < pairs.size() && plans.size() < kTried; ++i) {  // the first is there
    plans.push_back(state_.roles);
    std::swap(plans.back()[pairs[i].first], plans.back()[pairs[i].second]);
  }
  return plans;
}

template <typename Real>
std::vector<std::vector<uint8_t>> PlanRefiner<Real>::candidates() const {
  std::vector<Roles> plans;
  if (!state_.flipped.empty()) {
    plans = swapped_plans();
  } else {
    plans.push_back(state_.roles);
    for (size_t i = first_; i < state_.roles.size(); ++i) {
      plans.push_back(state_.roles);
      plans.back()[i] ^= 1U;
    }
  }
  std::ranges::sort(plans, [](const Roles& a, const Roles& b) {
    return std::ranges::lexicographical_compare(a, b, std::ranges::less{});
  });
  return plans;
}

template <typename Real>
void PlanRefiner<Real>::load(const JudgingSample& chosen) {
  const TrainingSample sample = data_.make(chosen.task, chosen.index);
  if (chosen.budget > 0) {
    distillation_.set_budget(chosen.budget);
  }
  distillation_.set_context(sample.context);
  distillation_.set_target(sample.target, sample.answers);
}

template <typename Real>
void PlanRefiner<Real>::step() {
  const std::vector<Roles> plans = candidates();
  const JudgingSample& sample = samples_[static_cast<size_t>(state_.sample)];
  load(sample);
  std::vector<double> losses;
  for (const Roles& roles : plans) {
    const double loss = distillation_.loss(std::vector<double>(roles.begin(), roles.end()));
    losses.push_back(std::isfinite(loss) ? loss : INFINITY);
  }
  if (state_.sample == std::ssize(state_.scales)) {  // the first survey
    const double start =
        losses[static_cast<size_t>(std::ranges::find(plans, state_.roles) - plans.begin())];
    require(std::isfinite(start), ErrorCode::kInternal,
            "the plan cannot be refined: its loss is not finite");
    state_.scales.push_back(std::max(start, kLeastLoss));
  }
  const double weight = sample.weight / state_.scales[static_cast<size_t>(state_.sample)];
  state_.sums.resize(plans.size(), 0);
  for (size_t i = 0; i < plans.size(); ++i) {
    state_.sums[i] += weight * losses[i];
  }
  if (++state_.sample == options_.samples) {
    state_.flipped.empty() ? finish_survey(plans) : finish_trial(plans);
    state_.sums.clear();
    state_.sample = 0;
  }
}

template <typename Real>
void PlanRefiner<Real>::finish_survey(const std::vector<Roles>& plans) {
  state_.flipped.assign(state_.roles.size(), 0);
  for (size_t i = 0; i < plans.size(); ++i) {
    const auto changed = std::ranges::mismatch(plans[i], state_.roles).in1 - plans[i].begin();
    double& objective =
        plans[i] == state_.roles ? state_.objective : state_.flipped[static_cast<size_t>(changed)];
    objective = state_.sums[i];
  }
  if (swapped_plans().empty()) {  // all heads but layer 0's have the same role
    state_.rounds.push_back({state_.objective, state_.objective, 0});
    state_.converged = 1;
  }
}

template <typename Real>
void PlanRefiner<Real>::finish_trial(const std::vector<Roles>& plans) {
  RefinerRound round{state_.objective, state_.objective, 0};
  const auto best = static_cast<size_t>(
      std::distance(state_.sums.begin(), std::ranges::min_element(state_.sums)));
  if (state_.sums[best] < state_.objective) {
    const size_t known = state_.swaps.size();
    record_swaps(plans[best]);
    round.num_swapped = static_cast<int64_t>(state_.swaps.size() - known);
    round.after = state_.sums[best];
    state_.objective = round.after;
    state_.roles = plans[best];
  } else {
    state_.converged = 1;
  }
  state_.flipped.clear();
  state_.rounds.push_back(round);
}

template <typename Real>
void PlanRefiner<Real>::record_swaps(const Roles& roles) {
  std::vector<int64_t> opened;
  std::vector<int64_t> closed;
  for (size_t i = 0; i < roles.size(); ++i) {
    if (roles[i] != state_.roles[i]) {
      (roles[i] != 0 ? opened : closed).push_back(static_cast<int64_t>(i));
    }
  }
  for (size_t i = 0; i < opened.size(); ++i) {
    state_.swaps.push_back({std::ssize(state_.rounds), opened[i], closed[i]});
  }
}

template class PlanRefiner<float>;
template class PlanRefiner<double>;

}  // namespace lychee::training
