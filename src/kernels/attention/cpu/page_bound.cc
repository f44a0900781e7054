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

#include "kernels/cpu/load_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

template <typename T>
void rank_pages_as(const PageBoundParams& params, int64_t row, int64_t head, const float* mean_q,
                   uint32_t* keys) {
  namespace hn = hwy::HWY_NAMESPACE;
  using lychee::cpu::HWY_NAMESPACE::load_f32;
  const hn::CappedTag<float, 8> d;  // head_dim is a multiple of 8
  const int32_t* table = params.summary_tables + row * params.summary_table_stride;
  const auto* k_min = static_cast<const T*>(params.kv.k);
  const auto* k_max = static_cast<const T*>(params.kv.v);
  for (int64_t page = 0; page * kBoundPageSize < params.kv_lens[row]; ++page) {
    const int64_t at = kv_offset(params.kv, table, page, head);
    auto sum = hn::Zero(d);
    for (int64_t i = 0; i < params.head_dim; i += static_cast<int64_t>(hn::Lanes(d))) {
      const auto q = hn::LoadU(d, mean_q + i);
      sum = hn::Add(sum, hn::Max(hn::Mul(q, load_f32(d, k_min + at + i)),
                                 hn::Mul(q, load_f32(d, k_max + at + i))));
    }
    keys[page] = score_key(hn::GetLane(hn::SumOfLanes(d, sum)));
  }
}

// keys[page] ranks the upper bound of mean_q · k over the page's keys.
void rank_pages(const PageBoundParams& params, int64_t row, int64_t head, const float* mean_q,
                uint32_t* keys) {
  if (params.kv.dtype == DType::kF16) {
    rank_pages_as<f16>(params, row, head, mean_q, keys);
  } else if (params.kv.dtype == DType::kBF16) {
    rank_pages_as<bf16>(params, row, head, mean_q, keys);
  } else {
    rank_pages_as<float>(params, row, head, mean_q, keys);
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention {

namespace {

// Bound pages [first_free, end_free) hold no forced token.
struct PageRanges {
  int64_t num_pages;
  int64_t first_free;
  int64_t end_free;
  int64_t wanted;  // of the free ones
};

PageRanges page_ranges(const Selection& selection, int64_t kv_len) {
  PageRanges ranges{};
  ranges.num_pages = ceil_div<int64_t>(kv_len, kBoundPageSize);
  ranges.first_free = std::min(ranges.num_pages, ceil_div<int64_t>(selection.sink, kBoundPageSize));
  const int64_t first_recent = std::max<int64_t>(0, kv_len - selection.recent);
  ranges.end_free = std::max(ranges.first_free, first_recent / kBoundPageSize);
  const int64_t num_free = ranges.end_free - ranges.first_free;
  const int64_t num_forced = ranges.num_pages - num_free;
  const int64_t budget = effective_budget(selection, kv_len);
  ranges.wanted = kv_len <= budget
                      ? num_free
                      : std::clamp<int64_t>(budget / kBoundPageSize - num_forced, 0, num_free);
  return ranges;
}

}  // namespace

int64_t page_bound_num_selected(const Selection& selection, int64_t kv_len) {
  // Only the last page may be partial; it holds the current token, so it is in the set.
  const PageRanges ranges = page_ranges(selection, kv_len);
  return kv_len - (ranges.end_free - ranges.first_free - ranges.wanted) * kBoundPageSize;
}

namespace cpu {

HWY_EXPORT(rank_pages);

namespace {

// Scratch of one head: its mean query, then a key per page.
int64_t scratch_words(const PageBoundParams& params) {
  return round_up<int64_t>(params.head_dim + ceil_div<int64_t>(params.max_kv_len, kBoundPageSize),
                           16);
}

void find_mean_query(const PageBoundParams& params, int64_t set, float* mean) {
  const int64_t group_size = params.num_q_heads / params.num_kv_heads;
  for (int64_t d = 0; d < params.head_dim; ++d) {
    float sum = 0;
    for (int64_t g = 0; g < group_size; ++g) {
      sum += params.q[(set * group_size + g) * params.head_dim + d];
    }
    mean[d] = sum / static_cast<float>(group_size);
  }
}

int32_t append_pages(int64_t kv_len, int64_t first, int64_t end, int32_t* ids, int32_t count) {
  const int64_t first_token = first * kBoundPageSize;
  // No pages at the end of a partial one: their first token lies beyond the last.
  const int64_t end_token = std::max(first_token, std::min(end * kBoundPageSize, kv_len));
  std::iota(ids + count, ids + count + (end_token - first_token),
            static_cast<int32_t>(first_token));
  return count + static_cast<int32_t>(end_token - first_token);
}

int32_t select_pages(const PageRanges& ranges, int64_t kv_len, const uint32_t* keys, int32_t* ids) {
  Cut cut = find_cut(ranges.first_free, ranges.end_free, ranges.wanted,
                     [&](int64_t page) { return keys[page]; });
  int32_t count = append_pages(kv_len, 0, ranges.first_free, ids, 0);
  for (int64_t page = ranges.first_free; page < ranges.end_free; ++page) {
    if (cut.takes(keys[page])) {
      count = append_pages(kv_len, page, page + 1, ids, count);
    }
  }
  return append_pages(kv_len, ranges.end_free, ranges.num_pages, ids, count);
}

}  // namespace

int64_t page_bound_workspace_bytes(const PageBoundParams& params) {
  return int64_t{params.batch} * params.num_kv_heads * scratch_words(params) *
         static_cast<int64_t>(sizeof(uint32_t));
}

void page_bound(const PageBoundParams& params) {
  require_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
#pragma omp parallel for
  for (int64_t set = 0; set < int64_t{params.batch} * params.num_kv_heads; ++set) {
    const int64_t row = set / params.num_kv_heads;
    const int64_t kv_len = params.kv_lens[row];
    auto* mean_q = static_cast<float*>(params.workspace) + set * scratch_words(params);
    auto* keys =
        static_cast<uint32_t*>(params.workspace) + set * scratch_words(params) + params.head_dim;
    find_mean_query(params, set, mean_q);
    HWY_DYNAMIC_DISPATCH(rank_pages)(params, row, set % params.num_kv_heads, mean_q, keys);
    params.num_ids[set] = select_pages(page_ranges(params.selection, kv_len), kv_len, keys,
                                       params.token_ids + set * params.token_ids_stride);
  }
}

}  // namespace cpu
}  // namespace lychee::attention
#endif
