#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

#include "lychee/generation.h"
#include "model/attention_policy.h"
#include "model/kv_cache.h"

namespace lychee::model {

// Where a `page-bound` sequence keeps the summaries of its bound pages, in all layers: in pages of
// the cache, a summary in place of a token (attention::PageSummaryParams). A step fills in what is
// missing; the summary of the last page is made anew each time.
struct PageSummaries {
  PageTable table;
  int64_t num_complete = 0;  // first bound pages whose summaries are there to stay

  // K at and after `position` was, or will be, overwritten.
  void invalidate_from(int64_t position) {
    num_complete = std::min(num_complete, position / attention::kBoundPageSize);
  }
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
