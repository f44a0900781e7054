#include "kernels/attention/page_bound.h"

#include <algorithm>
#include <numeric>

#include "base/math.h"
#include "kernels/attention/cpu/rank.h"
#include "kernels/attention/paged_kv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/page_bound.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

// keys[page] ranks the upper bound of mean_q · k over the page's keys.
void rank_pages(const PageBoundParams& params, int64_t head, const float* mean_q, int64_t num_pages,
                uint32_t* keys) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::CappedTag<float, 8> d;  // head_dim is a multiple of 8
  for (int64_t page = 0; page < num_pages; ++page) {
    const int64_t at = (page * params.num_kv_heads + head) * params.head_dim;
    auto sum = hn::Zero(d);
    for (int64_t i = 0; i < params.head_dim; i += static_cast<int64_t>(hn::Lanes(d))) {
      const auto q = hn::LoadU(d, mean_q + i);
      sum = hn::Add(sum, hn::Max(hn::Mul(q, hn::LoadU(d, params.k_min + at + i)),
                                 hn::Mul(q, hn::LoadU(d, params.k_max + at + i))));
    }
    keys[page] = score_key(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(rank_pages);

namespace {

int64_t count_pages(const PageBoundParams& params) {
  return ceil_div<int64_t>(params.kv_len, kBoundPageSize);
}

// Scratch of one head: its mean query, then a key per page.
int64_t scratch_words(const PageBoundParams& params) {
  return round_up<int64_t>(params.head_dim + count_pages(params), 16);
}

void find_mean_query(const PageBoundParams& params, int64_t head, float* mean) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  for (int64_t d = 0; d < params.head_dim; ++d) {
    float sum = 0;
    for (int64_t g = 0; g < group_size; ++g) {
      sum += params.q[(head * group_size + g) * params.head_dim + d];
    }
    mean[d] = sum / static_cast<float>(group_size);
  }
}

int32_t append_pages(const PageBoundParams& params, int64_t first, int64_t end, int32_t* ids,
                     int32_t count) {
  const int64_t first_token = first * kBoundPageSize;
  // No pages at the end of a partial one: their first token lies beyond the last.
  const int64_t end_token = std::max(first_token, std::min(end * kBoundPageSize, params.kv_len));
  std::iota(ids + count, ids + count + (end_token - first_token),
            static_cast<int32_t>(first_token));
  return count + static_cast<int32_t>(end_token - first_token);
}

int32_t select_pages(const PageBoundParams& params, const uint32_t* keys, int32_t* ids) {
  const int64_t num_pages = count_pages(params);
  const int64_t first_free = std::min(num_pages, ceil_div<int64_t>(params.sink, kBoundPageSize));
  const int64_t first_recent = std::max<int64_t>(0, params.kv_len - params.recent);
  const int64_t end_free = std::max(first_free, first_recent / kBoundPageSize);
  const int64_t num_forced = num_pages - (end_free - first_free);
  Cut cut = find_cut(
      first_free, end_free,
      std::clamp<int64_t>(params.budget / kBoundPageSize - num_forced, 0, end_free - first_free),
      [&](int64_t page) { return keys[page]; });
  int32_t count = append_pages(params, 0, first_free, ids, 0);
  for (int64_t page = first_free; page < end_free; ++page) {
    if (cut.takes(keys[page])) {
      count = append_pages(params, page, page + 1, ids, count);
    }
  }
  return append_pages(params, end_free, num_pages, ids, count);
}

}  // namespace

int64_t page_bound_workspace_bytes(const PageBoundParams& params) {
  return params.num_kv_heads * scratch_words(params) * static_cast<int64_t>(sizeof(uint32_t));
}

void page_bound(const PageBoundParams& params) {
  require_head_dim(params.head_dim);
#pragma omp parallel for
  for (int64_t head = 0; head < params.num_kv_heads; ++head) {
    int32_t* ids = params.token_ids + head * params.token_ids_stride;
    if (params.kv_len <= params.budget) {
      params.num_ids[head] = append_pages(params, 0, count_pages(params), ids, 0);
      continue;
    }
    auto* mean_q = static_cast<float*>(params.workspace) + head * scratch_words(params);
    auto* keys =
        static_cast<uint32_t*>(params.workspace) + head * scratch_words(params) + params.head_dim;
    find_mean_query(params, head, mean_q);
    HWY_DYNAMIC_DISPATCH(rank_pages)(params, head, mean_q, count_pages(params), keys);
    params.num_ids[head] = select_pages(params, keys, ids);
  }
}

}  // namespace lychee::attention::cpu
#endif
