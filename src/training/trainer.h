#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lychee/head_plan.h"
#include "training/distillation.h"
#include "training/gate.h"
#include "training/run_cost.h"
#include "training/training_data.h"

namespace lychee::training {

struct TrainerOptions {
  GateKind gate = GateKind::kHardKuma;
  int64_t steps = 3000;  // 0: done at once
  double learning_rate = 0.01;
  double target_density = 0;  // of gates that are not 0, layer 0 not counted, by L · H_kv
  int num_retrieval = 0;      // of the plan, layer 0's included; 0: where the score exceeds 0.5
  int64_t context_reuse = 1;  // steps on one sample
  std::vector<int> budgets =
      {};  // of sparse heads, sample after sample in turn; empty: the selection's
  uint64_t seed = 0;
};

// What one step showed.
struct StepRecord {
  int64_t step = 0;
  double loss = 0;            // distillation alone
  double density = 0;         // expected, over L · H_kv
  double lambda = 0;          // before the step
  double learning_rate = 0;   // of this step
  int32_t num_retrieval = 0;  // scores above 0.5, and layer 0
  int32_t skipped = 0;        // 1: not finite, nothing was changed
};

// Shares of gates by score, in kScoreBins bins of equal width; layer 0 left out.
constexpr int kScoreBins = 10;
struct ScoreHistogram {
  int64_t step = 0;
  double share[kScoreBins] = {};
};

// All that a run carries from step to step.
struct TrainerState {
  int64_t step = 0;                       // the next
  std::vector<GateParams> params;         // [num_layers, num_kv_heads]; layer 0's are not used
  std::vector<GateParams> first_moment;   // of AdamW
  std::vector<GateParams> second_moment;  // same
  int64_t updates = 0;                    // of AdamW
  double moving_average = 0;              // of the constraint's violation
  double lambda = 2;
  int32_t skipped = 0;         // steps
  int32_t skipped_in_row = 0;  // of them, without a good one between
  std::vector<StepRecord> history;
  std::vector<ScoreHistogram> histograms;
};

// The factor of the learning rate: up from 0.1 over the first fifth, flat, down to 0.1 over the
// last fifth.
[[nodiscard]] double trapezoid(int64_t step, int64_t steps);

// Density that leaves `num_retrieval` heads, layer 0's included. Throws Error(kInvalidArgument)
// unless num_kv_heads <= num_retrieval <= num_layers · num_kv_heads.
[[nodiscard]] double density_for(int num_retrieval, int num_layers, int num_kv_heads);

// Learns gates of a frozen model (algorithm.md, section 3). One thread drives it.
template <typename Real>
class Trainer {
 public:
  // All references must outlive it. Throws Error(kInvalidArgument) for a target density that the
  // model cannot have.
  Trainer(const io::ModelConfig& config, Distillation<Real>& distillation, const TrainingData& data,
          const TrainerOptions& options);

  [[nodiscard]] bool done() const { return state_.step >= options_.steps; }
  // One step. Throws Error(kInternal), naming the gate, at the third step in a row that is not
  // finite; the state is that of the last good step.
  StepRecord step();

  // Of the last step.
  [[nodiscard]] const StepTimes& times() const { return times_; }

  [[nodiscard]] const TrainerState& state() const { return state_; }
  void set_state(TrainerState state) { state_ = std::move(state); }
  // Why the last skipped step was; empty: none was.
  [[nodiscard]] const std::string& skip_reason() const { return skip_reason_; }

  [[nodiscard]] std::vector<double> scores() const;  // [num_layers, num_kv_heads], layer 0: 1
  // Share of gates, layer 0 left out, whose score lies in (0.1, 0.9).
  [[nodiscard]] double undecided() const;
  // Layer 0, and the best scores or those above 0.5.
  [[nodiscard]] HeadPlan plan() const;

 private:
  struct Draw {
    std::vector<double> z;
    std::vector<GateParams> slope;  // of z by the parameters
  };

  void load_sample();
  [[nodiscard]] Draw draw_gates() const;
  // Adds λ · c to the gradients; returns the density.
  double add_constraint(std::vector<GateParams>& gradients, double& violation) const;
  [[nodiscard]] std::string find_bad(double loss, const std::vector<GateParams>& gradients) const;
  void update(const std::vector<GateParams>& gradients, double learning_rate);
  void skip(StepRecord& record, const std::string& reason);
  void record_histogram();

  const io::ModelConfig& config_;
  Distillation<Real>& distillation_;
  const TrainingData& data_;
  TrainerOptions options_;
  const Gate& gate_;
  size_t first_;  // gate: that of layer 1, head 0
  TrainerState state_;
  int64_t loaded_ = -1;  // sample
  StepTimes times_;
  std::string skip_reason_;
};

}  // namespace lychee::training
