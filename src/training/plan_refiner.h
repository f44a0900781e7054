#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lychee/head_plan.h"
#include "training/distillation.h"
#include "training/training_data.h"

namespace lychee::training {

struct RefinerOptions {
  int64_t rounds = 0;             // at most; 0: plans stay as they are
  int64_t samples = 12;           // that plans are judged by
  std::vector<int> budgets = {};  // of a kind's samples in turn; empty: the selection's
};

// What one round did.
struct RefinerRound {
  double before = 0;        // the objective
  double after = 0;         // never above `before`
  int64_t num_swapped = 0;  // heads opened, and as many closed
};

// Entries of [num_layers, num_kv_heads].
struct RefinerSwap {
  int64_t round = 0;
  int64_t opened = 0;  // became a retrieval head
  int64_t closed = 0;  // no longer is one
};

// "7.2": layer 7, KV head 2, of an entry of [num_layers, num_kv_heads].
[[nodiscard]] std::string head_name(int64_t entry, int num_kv_heads);

// All that a refinement carries from sample to sample.
struct RefinerState {
  std::vector<uint8_t> roles;  // [num_layers, num_kv_heads], 1: retrieval; empty: not begun
  double objective = 0;        // of the roles, once a survey is done
  int64_t sample = 0;          // the next
  // Per sample: the loss of the plan that it began with.
  std::vector<double> scales;
  std::vector<double> sums;  // per plan that is being judged, over the samples before
  // [num_layers, num_kv_heads]: the objective with that one role changed; layer 0 is not used.
  // Empty while it is being found.
  std::vector<double> flipped;
  int32_t converged = 0;  // 1: the last round found no better plan
  std::vector<RefinerRound> rounds;
  std::vector<RefinerSwap> swaps;
};

// Improves a plan as a whole by swaps of roles. Gates rank heads one by one; what a set of heads is
// worth together only the plan's own loss says, which gates at exactly 0 and 1 give. A plan is
// judged by the distillation loss over fixed samples that training does not see, each as a share of
// what the first plan lost there, so that samples of much loss do not decide alone; each kind of
// data has its weight in the mixture.
//
// A round is a survey and a trial. The survey judges the plan, and the plan with each role changed
// in turn. The trial judges plans with one or several swaps of the heads that are worth most opened
// and least missed closed; the best replaces the plan if it is better. A survey that follows a
// trial without success would be the same again, so that ends it.
template <typename Real>
class PlanRefiner {
 public:
  // References must outlive it; the chain of `distillation` must be kInference. Throws
  // Error(kInvalidArgument) for fewer samples than there are kinds of data.
  PlanRefiner(const io::ModelConfig& config, Distillation<Real>& distillation,
              const TrainingData& data, const RefinerOptions& options);

  // Where it begins, unless set_state says where to go on.
  void begin(const HeadPlan& plan);
  void set_state(RefinerState state) { state_ = std::move(state); }
  [[nodiscard]] const RefinerState& state() const { return state_; }

  [[nodiscard]] bool done() const {
    return state_.converged != 0 || std::ssize(state_.rounds) >= options_.rounds;
  }
  // One sample under all plans that are being judged. Throws Error(kInternal) when the plan's loss
  // is not finite.
  void step();
  // Steps until now, and of `rounds` rounds.
  [[nodiscard]] int64_t steps() const;
  [[nodiscard]] int64_t max_steps() const { return 2 * options_.rounds * options_.samples; }

  [[nodiscard]] HeadPlan plan() const;

 private:
  using Roles = std::vector<uint8_t>;
  struct JudgingSample {
    DataTask task;
    int64_t index;
    int budget;     // 0: the selection's
    double weight;  // of its loss; all together 1
  };

  void choose_samples();
  // The plans of this survey or trial. Neighbours share their lower layers where that is possible,
  // since those are not computed again.
  [[nodiscard]] std::vector<Roles> candidates() const;
  [[nodiscard]] std::vector<Roles> swapped_plans() const;
  // Entries with a role, the best to change first.
  [[nodiscard]] std::vector<size_t> ranked(uint8_t role) const;
  void load(const JudgingSample& sample);
  void finish_survey(const std::vector<Roles>& plans);
  void finish_trial(const std::vector<Roles>& plans);
  void record_swaps(const Roles& roles);

  const io::ModelConfig& config_;
  Distillation<Real>& distillation_;
  const TrainingData& data_;
  RefinerOptions options_;
  size_t first_;  // entry: that of layer 1, head 0
  std::vector<JudgingSample> samples_;
  RefinerState state_;
};

}  // namespace lychee::training
