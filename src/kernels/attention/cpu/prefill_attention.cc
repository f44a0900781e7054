#include "kernels/attention/prefill_attention.h"

#include <omp.h>

#include <algorithm>

#include "base/math.h"
#include "kernels/attention/cpu/prefill_block.h"
#include "kernels/attention/paged_kv.h"

namespace lychee::attention::cpu {

namespace {

// Query rows per block: enough to hide the widening of K and V behind the products, few enough to
// stay in L2 with their sums.
constexpr int64_t kBlockRows = 192;
// More threads than this share no further work; bounds the scratch.
constexpr int64_t kMaxWorkers = 64;

struct Blocks {
  int64_t tokens;  // per block
  int64_t count;   // per KV head
  int64_t workers;
  int64_t scratch_floats;  // per worker
};

Blocks plan_blocks(const PrefillAttentionParams& params) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const int64_t tokens =
      std::clamp<int64_t>(kBlockRows / group_size, 1, std::max(params.num_tokens, 1));
  const int64_t count = ceil_div<int64_t>(params.num_tokens, tokens);
  return {.tokens = tokens,
          .count = count,
          .workers = std::min(count * params.num_kv_heads, kMaxWorkers),
          .scratch_floats = prefill_scratch_floats(tokens * group_size, params.head_dim)};
}

}  // namespace

int64_t prefill_attention_workspace_bytes(const PrefillAttentionParams& params) {
  const Blocks blocks = plan_blocks(params);
  return blocks.workers * blocks.scratch_floats * static_cast<int64_t>(sizeof(float));
}

void prefill_attention(const PrefillAttentionParams& params) {
  require_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
  const Blocks blocks = plan_blocks(params);
  const int64_t items = blocks.count * params.num_kv_heads;
  const auto workers = static_cast<int>(std::clamp<int64_t>(
      std::min<int64_t>(blocks.workers, omp_get_max_threads()), 1, kMaxWorkers));
#pragma omp parallel num_threads(workers)
  {
    float* scratch =
        static_cast<float*>(params.workspace) + omp_get_thread_num() * blocks.scratch_floats;
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < items; ++item) {
      // The last block reads the most keys: first, so that no thread ends with it alone.
      const int64_t first = (blocks.count - 1 - item / params.num_kv_heads) * blocks.tokens;
      prefill_block({.params = params,
                     .kv_head = item % params.num_kv_heads,
                     .first_token = first,
                     .num_tokens = std::min(blocks.tokens, params.num_tokens - first),
                     .scratch = scratch});
    }
  }
}

}  // namespace lychee::attention::cpu
