#pragma once

#include <random>
#include <vector>

#include "engine/pending_logits.h"
#include "lychee/engine.h"
#include "model/attention_policy.h"
#include "model/decode_row.h"
#include "model/kv_cache.h"

namespace lychee {

// What a Sequence owns; Engine reads and writes it.
struct Sequence::Impl {
  Impl(model::KvCache& kv_cache, engine::PendingLogits& pending_logits,
       const GenerationOptions& generation_options, model::AttentionPolicy attention_policy);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Whether the next token is fed by a correction pass rather than by a decode step.
  [[nodiscard]] bool correction_is_due() const {
    return options.cache_correction > 0 &&
           static_cast<int64_t>(uncorrected.size()) + 1 >= options.cache_correction;
  }
  // Last positions whose K and V the next token writes, its own included.
  [[nodiscard]] int64_t tokens_written_next() const {
    return correction_is_due() ? static_cast<int64_t>(uncorrected.size()) + 1 : 1;
  }

  [[nodiscard]] bool has_logits() const { return !logits.empty() || pending.has(logits); }
  // The logits, moved here if the decoder still holds them.
  [[nodiscard]] const std::vector<float>& fetch_logits();
  void forget_logits();

  model::KvCache& cache;
  engine::PendingLogits& pending;
  model::PageTable table;
  std::vector<int32_t> token_ids;  // in the cache
  GenerationOptions options;
  model::AttentionPolicy policy;
  model::PageSummaries summaries;
  // The last tokens fed by decode steps since the last correction, fewer than the period.
  std::vector<int32_t> uncorrected;
  DecodeStats stats;
  std::vector<float> logits;  // empty also while they are pending
  std::mt19937_64 random;
};

}  // namespace lychee
