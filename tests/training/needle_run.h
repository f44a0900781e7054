#pragma once

#include <memory>
#include <string>

#include "backends.h"
#include "io/needle/builtin_needle.h"
#include "kernels/cpu/threads.h"
#include "text/tokenizer.h"
#include "training/trainer.h"

namespace lychee::test {

// A short run on the built-in model, whose retrieval head is known, with what it rests on.
template <typename Real>
class NeedleRun {
 public:
  NeedleRun(const std::string& model, const MakeBackend<Real>& make,
            const training::TrainerOptions& options, training::Loss loss = training::Loss::kKl,
            training::Chain chain = training::Chain::kInference)
      : files_(io::open_model(model)),
        weights_(model::load_weights(files_)),
        backend_(make(weights_)),
        tokenizer_(*files_.tokenizer),
        data_({.mixture = {{training::DataTask::kNeedle, 1.0}},
               .context_min = 150,
               .context_max = 220,
               .seed = options.seed},
              [this](std::string_view text) { return tokenizer_.encode(text, true); }, {}, {}),
        distillation_(files_.config, *backend_,
                      {.loss = loss,
                       .chain = chain,
                       .selection = {.budget = 48, .sink = 4, .recent = 12},
                       .max_context = data_.max_context(),
                       .max_target = data_.max_target()}),
        trainer_(files_.config, distillation_, data_, options) {
    // Threads of a model this small wait for each other longer than they work.
    cpu::set_num_threads(1);
  }

  training::Trainer<Real>& trainer() { return trainer_; }
  training::Distillation<Real>& distillation() { return distillation_; }
  [[nodiscard]] const io::ModelConfig& config() const { return files_.config; }
  [[nodiscard]] const training::TrainingData& data() const { return data_; }
  void finish() {
    while (!trainer_.done()) {
      (void)trainer_.step();
    }
  }

 private:
  io::ModelFiles files_;
  model::ModelWeights weights_;
  std::unique_ptr<training::Backend<Real>> backend_;
  text::Tokenizer tokenizer_;
  training::TrainingData data_;
  training::Distillation<Real> distillation_;
  training::Trainer<Real> trainer_;
};

}  // namespace lychee::test
