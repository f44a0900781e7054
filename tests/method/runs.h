#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lychee/engine.h"
#include "method/reference_model.h"
#include "support/tiny_models.h"

namespace lychee::test {

using LogProbs = std::vector<std::vector<double>>;  // [position, vocab]

// A tiny model on disk, opened by the engine in exact arithmetic and by the reference.
struct Subject {
  explicit Subject(const std::string& name, KvDtype kv_dtype = KvDtype::kF32);

  [[nodiscard]] Engine open(int prefill_chunk = 512) const;
  [[nodiscard]] std::vector<int32_t> tokens(int64_t count, uint32_t seed) const {
    return random_tokens(spec, count, seed);
  }
  // A plan with retrieval and sparse heads mixed, layer 0 all retrieval.
  [[nodiscard]] std::shared_ptr<const HeadPlan> mixed_plan() const;
  [[nodiscard]] std::shared_ptr<const HeadPlan> all_retrieval() const;

  TinyModel spec;
  std::string path;
  KvDtype kv_dtype;
  ReferenceModel reference;
  Engine engine;
};

[[nodiscard]] std::vector<double> log_probs_of(const Sequence& sequence);

// Feeds `token_ids` one by one by decode steps; the log-probabilities after each.
[[nodiscard]] LogProbs decode_all(Engine& engine, Sequence& sequence,
                                  std::span<const int32_t> token_ids);

// Prefills the first `prompt` tokens into a new sequence, and decodes the rest.
[[nodiscard]] LogProbs run(Engine& engine, const GenerationOptions& options,
                           std::span<const int32_t> token_ids, int64_t prompt);

// The largest |a - b|; infinite for shapes that differ and for NaN.
[[nodiscard]] double worst_difference(const LogProbs& a, const LogProbs& b);

// Options of a policy with budgets small enough for contexts of a few hundred tokens.
[[nodiscard]] GenerationOptions small_options(Policy policy, SelectMode mode,
                                              const Subject& subject);

}  // namespace lychee::test
