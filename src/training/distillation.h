#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "training/layer_pass.h"
#include "training/run_cost.h"
#include "training/set_chain.h"

namespace lychee::training {

// How far the student is from the dense teacher (algorithm.md, section 3).
enum class Loss : uint8_t {
  kHidden,  // mean square of the final hidden states' difference, over all target rows
  kLogits,  // the same of the logits
  kKl,      // KL(dense ‖ student) of the rows that predict answer tokens
};

[[nodiscard]] std::string_view loss_name(Loss loss);
[[nodiscard]] std::optional<Loss> parse_loss(std::string_view name);

struct DistillationOptions {
  Loss loss = Loss::kKl;
  Chain chain = Chain::kInference;
  Selection selection;
  int64_t max_context = 0;  // tokens
  int64_t max_target = 0;   // rows
};

struct DistillationResult {
  double loss = 0;
  std::vector<double> d_z;  // [num_layers, num_kv_heads]; layer 0 has no gate: 0
  StepTimes times;          // of the student, the loss and the way back
};

// A frozen model as teacher and student. The context is prefilled densely once and its K and V are
// constants; the teacher's target rows are dense, the student's blend a dense and a sparse output
// per KV head by the gates z.
template <typename Real>
class Distillation {
 public:
  // `config` and `weights` must outlive it.
  Distillation(const io::ModelConfig& config, const model::ModelWeights& weights,
               const Kernels<Real>& kernels, const DistillationOptions& options);

  // Tokens that sparse heads read from now on, instead of the selection's.
  void set_budget(int budget) { chain_.set_budget(budget); }
  // Prefills a new context, at most max_context tokens; may be empty.
  void set_context(std::span<const int32_t> token_ids);
  // Runs the teacher over the target that follows the context, 1 … max_target rows. `answers`: rows
  // whose next token is part of an answer.
  void set_target(std::span<const int32_t> token_ids, std::span<const uint8_t> answers);
  // The student under gates z, [num_layers, num_kv_heads] with layer 0 all 1.
  [[nodiscard]] DistillationResult run(std::span<const double> z);
  // The student's final hidden states of the last run, [rows, hidden_size].
  [[nodiscard]] std::span<const Real> hidden() const { return student_hidden_; }

 private:
  // One layer's params for the rows of this pass; z and sets belong to the pass.
  struct LayerInputs {
    std::vector<Real> z;                    // [num_kv_heads]
    LayerSets sets;                         // shared with neighbours
    std::vector<attention::RowSets> views;  // of sets
  };

  [[nodiscard]] attention::BlendedAttentionParams<Real> layer_params(int layer,
                                                                     const LayerInputs& inputs);
  void forward_student(std::span<const double> z);
  void forward_layer(int layer, std::span<const double> z);
  // The loss, and its gradient by the final hidden states in d_.
  double find_loss();
  // The gradients by the gates from that in d_.
  void backward(std::vector<double>& d_z);
  double hidden_loss();
  double logit_loss();
  void append_context(int layer, int64_t first, int64_t rows);
  [[nodiscard]] Real* input_of(int layer);
  [[nodiscard]] Real* mid_of(int layer);

  const io::ModelConfig& config_;
  const model::ModelWeights& weights_;
  const Kernels<Real>& kernels_;
  DistillationOptions options_;
  LayerPass<Real> pass_;
  SetChain chain_;
  std::vector<LayerContext<Real>> contexts_;  // [num_layers]
  int64_t context_len_ = 0;
  std::vector<int32_t> target_;
  std::vector<int64_t> answer_rows_;
  std::vector<LayerInputs> inputs_;  // [num_layers], of the student
  std::vector<Real> residual_;       // [num_layers + 1, max_target, hidden_size]
  std::vector<Real> mids_;           // [num_layers, max_target, hidden_size]
  std::vector<Real> teacher_hidden_;
  std::vector<Real> student_hidden_;
  std::vector<Real> d_;        // [max_target, hidden_size]
  std::vector<float> scores_;  // of one layer
};

}  // namespace lychee::training
