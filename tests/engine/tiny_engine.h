#pragma once

#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "lychee/engine.h"
#include "support/model_writer.h"
#include "support/tiny_model.h"

namespace lychee::test {

constexpr int kVocab = 96;
constexpr int64_t kContext = 256;

// A tiny model (tiny_model.h) on disk, to be opened as tests need it.
class TinyEngine {
 public:
  TinyEngine() {
    const io::ModelConfig config = tiny_config();
    write_hf_folder(folder_.path() / "tiny", config, tiny_weights(config));
  }

  [[nodiscard]] EngineOptions options() const {
    EngineOptions options;
    options.model = folder_.path() / "tiny";
    options.device = Device::kCpu;
    options.exact = true;
    options.threads = 1;
    options.max_cache_tokens = 4096;
    return options;
  }
  [[nodiscard]] Engine open(int64_t max_cache_tokens = 4096) const {
    EngineOptions chosen = options();
    chosen.max_cache_tokens = max_cache_tokens;
    return Engine(chosen);
  }

 private:
  TemporaryFolder folder_;
};

// Ids that never repeat in the same order: 3, 10, 17, … modulo the vocabulary.
inline std::vector<int32_t> tokens(int64_t count, int32_t first = 3) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>((static_cast<size_t>(first) + 7 * i + i * i / 5) % kVocab);
  }
  return ids;
}

inline std::vector<float> logits_of(const Sequence& sequence) {
  return {sequence.logits().begin(), sequence.logits().end()};
}

// Layer 0 and one more head retrieve; budgets of a few dozen tokens.
inline GenerationOptions small_hybrid() {
  GenerationOptions options;
  auto plan = std::make_shared<HeadPlan>(3, 2);
  plan->set_role(1, 1, HeadRole::kRetrieval);
  options.policy = Policy::kHybrid;
  options.head_plan = plan;
  options.selection = Selection{.budget = 24, .sink = 4, .recent = 8};
  options.ignore_eos = true;
  return options;
}

}  // namespace lychee::test
