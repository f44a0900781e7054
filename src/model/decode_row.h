#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "lychee/generation.h"
#include "model/attention_policy.h"

namespace lychee::model {

// Minimum and maximum of K per bound page, layer and KV head of one sequence: what `page-bound`
// ranks pages by. Filled as far as a step needs it; the last, partial page is made anew each time.
struct PageSummaries {
  struct Layer {
    int64_t complete_pages = 0;
    std::vector<float> k_min;  // [bound pages, num_kv_heads, head_dim]
    std::vector<float> k_max;  // same
  };
  std::vector<Layer> layers;

  // K at and after `position` was, or will be, overwritten.
  void invalidate_from(int64_t position);
};

// One sequence in a batched decode step.
struct DecodeRow {
  int32_t token_id = 0;
  int64_t position = 0;  // of the token; kv_len is position + 1
  std::span<const int32_t> pages;
  const AttentionPolicy* policy = nullptr;
  PageSummaries* summaries = nullptr;                                       // kPageBound only
  const std::function<void(const HeadRecall&)>* recall_observer = nullptr;  // null or empty: off
  double tokens_read = 0;  // out: K/V rows read, over layers and KV heads
};

}  // namespace lychee::model
