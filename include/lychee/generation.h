#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lychee/head_plan.h"
#include "lychee/selection.h"

namespace lychee {

// Who retrieves and who reuses in a decode step (algorithm.md, section 2). Prompts are always
// dense.
enum class Policy : uint8_t {
  kDense,        // every head reads everything
  kHybrid,       // the head plan's retrieval heads select, its sparse heads inherit
  kLayerShared,  // a few dense layers select one set for all heads (TidalDecode, OmniKV)
  kStreaming,    // sink and most recent positions only (StreamingLLM)
  kDuo,          // the plan's retrieval heads dense, the others as in kStreaming (DuoAttention)
  kPageBound,    // pages of 16 tokens by the upper bound of their scores (Quest)
};

[[nodiscard]] std::string_view policy_name(Policy policy);
[[nodiscard]] std::optional<Policy> parse_policy(std::string_view name);
[[nodiscard]] constexpr bool policy_needs_plan(Policy policy) {
  return policy == Policy::kHybrid || policy == Policy::kDuo;
}

// How much of one sparse head's dense attention its token set covers in one decode step.
struct HeadRecall {
  int layer;
  int kv_head;
  int64_t position;  // of the token that was fed
  double recall;     // softmax mass of the set under dense attention, mean over the group
  int64_t num_ids;   // size of the set
};

// All that shapes the decoding of one sequence; one engine serves sequences with different options.
struct GenerationOptions {
  Policy policy = Policy::kDense;
  std::shared_ptr<const HeadPlan> head_plan;  // kHybrid and kDuo need it; others refuse one
  Selection selection;                        // ignored by kDense
  std::vector<int> selecting_layers;          // kLayerShared; empty: 2 and floor(num_layers / 2)
  int64_t dense_below = 0;                    // a step with kv_len <= this runs dense
  int cache_correction = 0;  // c > 0: a dense pass over every c generated tokens; 0: off

  double temperature = 0;  // 0: greedy, ties to the lower id
  int top_k = 0;           // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  uint64_t seed = 0;  // of the draws: the same ones every time on one device

  int64_t max_tokens = 256;
  std::vector<std::string> stop;        // not part of the output
  std::vector<int32_t> stop_token_ids;  // beside the model's own end tokens
  bool ignore_eos = false;

  // Called for every head that reads a set in a decode step, from the thread that decodes: not in
  // steps that run dense, for `dense_below` or a budget of all tokens. Costs an extra dense
  // attention pass per step. Null: off.
  std::function<void(const HeadRecall&)> recall_observer;
};

enum class FinishReason : uint8_t {
  kStop,      // an end token or a stop string
  kLength,    // max_tokens, or the end of the model's context or of the KV cache
  kCanceled,  // the callback said so
};

[[nodiscard]] std::string_view finish_reason_name(FinishReason reason);

// What decoding one sequence has cost so far.
struct DecodeStats {
  int64_t decode_steps = 0;  // cache corrections included
  int64_t dense_steps = 0;   // of these, steps that dense_below made dense
  int64_t corrections = 0;
  double kv_bytes_read = 0;        // by the policy
  double kv_bytes_read_dense = 0;  // that dense would have read
  // kv_read of algorithm.md; 1 when nothing was decoded.
  [[nodiscard]] double kv_read() const {
    return kv_bytes_read_dense > 0 ? kv_bytes_read / kv_bytes_read_dense : 1;
  }
};

struct GenerationResult {
  std::string text;
  std::vector<int32_t> token_ids;  // generated, an end token included
  int64_t prompt_tokens = 0;
  FinishReason finish_reason = FinishReason::kStop;
  double ttft_s = 0;  // from the call to the first token
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;  // 0 when fewer than two tokens came
  DecodeStats stats;
};

// Text as it is completed. Return false to stop.
using TextCallback = std::function<bool(std::string_view text)>;
// Tokens done and tokens in all. Return false to stop early.
using ProgressCallback = std::function<bool(int64_t done, int64_t total)>;

}  // namespace lychee
