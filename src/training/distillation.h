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
  // `config` and `backend` must outlive it. Takes all memory that it will ever need. Throws
  // Error(kOutOfMemory).
  Distillation(const io::ModelConfig& config, Backend<Real>& backend,
               const DistillationOptions& options);

  // Tokens that sparse heads read from now on, instead of the selection's.
  void set_budget(int budget);
  // Prefills a new context, at most max_context tokens; may be empty.
  void set_context(std::span<const int32_t> token_ids);
  // Runs the teacher over the target that follows the context, 1 … max_target rows. `answers`: rows
  // whose next token is part of an answer.
  void set_target(std::span<const int32_t> token_ids, std::span<const uint8_t> answers);
  // The student under gates z, [num_layers, num_kv_heads] with layer 0 all 1.
  [[nodiscard]] DistillationResult run(std::span<const double> z);
  // The loss alone, without the way back.
  [[nodiscard]] double loss(std::span<const double> z);
  // The student's final hidden states of the last run, [rows, hidden_size].
  [[nodiscard]] std::vector<Real> hidden();

 private:
  // One layer's params for the rows of this pass, dense or with the student's gates and sets.
  [[nodiscard]] attention::BlendedAttentionParams<Real> dense_params(int layer);
  [[nodiscard]] attention::BlendedAttentionParams<Real> student_params(int layer);
  void embed(std::span<const int32_t> token_ids, Real* x);
  // The frozen model over the rows of this pass, in place; with `append` their K and V join the
  // context.
  void run_layers(Real* x, bool append);
  // Layers below the first whose gates differ from those of the last call stay as they are.
  void forward_student(std::span<const double> z);
  void forward_layer(int layer);
  // The loss and, if asked for, its gradient by the final hidden states in d_.
  double find_loss(bool gradient);
  // The gradients by the gates from that in d_.
  void backward(std::span<double> d_z);
  void hidden_loss();
  void logit_loss(bool gradient);
  // Both logits of `count` answer rows from `first` on.
  void find_logits(int64_t first, int64_t count);
  void append_context(int layer);
  [[nodiscard]] Real* input_of(int layer);
  [[nodiscard]] Real* mid_of(int layer);

  const io::ModelConfig& config_;
  Backend<Real>& backend_;
  DistillationOptions options_;
  int64_t logit_rows_;  // at a time
  LayerPass<Real> pass_;
  SetChain<Real> chain_;
  std::vector<LayerContext<Real>> contexts_;  // [num_layers]
  int64_t context_len_ = 0;
  int64_t rows_ = 0;  // of this pass
  int64_t num_answers_ = 0;
  // Gates that the student's states are of; empty: of none.
  std::vector<double> forwarded_;
  // teacher_logits_ holds all answer rows of this target.
  bool teacher_kept_ = false;
  Array<int32_t> token_ids_;    // of this pass
  Array<int64_t> answer_rows_;  // [num_answers_]
  Array<Real> prefill_;         // [rows of a chunk, hidden_size]
  Array<Real> residual_;        // [num_layers + 1, max_target, hidden_size]
  Array<Real> mids_;            // [num_layers, max_target, hidden_size]
  Array<Real> teacher_hidden_;  // [max_target, hidden_size]
  Array<Real> student_hidden_;  // same
  Array<Real> d_;               // same
  Array<Real> z_;               // [num_layers, num_kv_heads]
  Array<double> d_z_;           // same
  Array<float> scores_;         // of one layer
  Array<Real> answer_hidden_;   // [logit_rows_, hidden_size]
  Array<Real> teacher_logits_;  // [logit_rows_, vocab_size]
  Array<Real> student_logits_;  // same
  Array<double> losses_;        // [max_target]
};

}  // namespace lychee::training
