#include "kernels/attention/page_bound.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::reference {

namespace {

double upper_bound(const PageBoundParams& params, int64_t row, int64_t page, int64_t kv_head) {
  const int64_t group_size = params.num_q_heads / params.num_kv_heads;
  const float* q = params.q + (row * params.num_q_heads + kv_head * group_size) * params.head_dim;
  const int64_t summary = kv_offset(
      params.kv, params.summary_tables + row * params.summary_table_stride, page, kv_head);
  double bound = 0;
  for (int d = 0; d < params.head_dim; ++d) {
    double mean = 0;
    for (int64_t g = 0; g < group_size; ++g) {
      mean += double{q[g * params.head_dim + d]} / static_cast<double>(group_size);
    }
    bound += std::max(mean * double{load_kv(params.kv.dtype, params.kv.k, summary + d)},
                      mean * double{load_kv(params.kv.dtype, params.kv.v, summary + d)});
  }
  bound *= double{kv_scale(params.kv.k_scales, kv_head)};
  return std::isnan(bound) ? -std::numeric_limits<double>::infinity() : bound;
}

std::vector<int64_t> choose_pages(const PageBoundParams& params, int64_t row, int64_t kv_head) {
  const int64_t kv_len = params.kv_lens[row];
  const Selection& selection = params.selection;
  const int64_t budget = effective_budget(selection, kv_len);
  std::vector<double> bounds;
  std::vector<int64_t> chosen;
  std::vector<int64_t> candidates;
  for (int64_t page = 0; page * kBoundPageSize < kv_len; ++page) {
    bounds.push_back(upper_bound(params, row, page, kv_head));
    const int64_t last = std::min((page + 1) * kBoundPageSize, kv_len) - 1;
    const bool forced = page * kBoundPageSize < selection.sink || last >= kv_len - selection.recent;
    (forced ? chosen : candidates).push_back(page);
  }
  std::stable_sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) {
    return bounds[static_cast<size_t>(a)] > bounds[static_cast<size_t>(b)];
  });
  for (const int64_t page : candidates) {
    if (kv_len <= budget || static_cast<int64_t>(chosen.size()) < budget / kBoundPageSize) {
      chosen.push_back(page);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

void page_bound(const PageBoundParams& params) {
  for (int64_t set = 0; set < int64_t{params.batch} * params.num_kv_heads; ++set) {
    const int64_t row = set / params.num_kv_heads;
    int32_t count = 0;
    for (const int64_t page : choose_pages(params, row, set % params.num_kv_heads)) {
      const int64_t end = std::min((page + 1) * kBoundPageSize, params.kv_lens[row]);
      for (int64_t position = page * kBoundPageSize; position < end; ++position) {
        params.token_ids[set * params.token_ids_stride + count++] = static_cast<int32_t>(position);
      }
    }
    params.num_ids[set] = count;
  }
}

}  // namespace lychee::attention::reference
