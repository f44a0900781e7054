#include "kernels/attention/page_bound.h"

#include <algorithm>
#include <vector>

#include "kernels/attention/cpu/rank.h"

namespace lychee::attention::cpu {

namespace {

float upper_bound(const PageBoundParams& params, int64_t page, int64_t kv_head) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  const int64_t summary = (page * params.num_kv_heads + kv_head) * params.head_dim;
  float bound = 0;
  for (int d = 0; d < params.head_dim; ++d) {
    float mean = 0;
    for (int g = 0; g < group_size; ++g) {
      mean += params.q[(kv_head * group_size + g) * params.head_dim + d];
    }
    mean /= static_cast<float>(group_size);
    bound += std::max(mean * params.k_min[summary + d], mean * params.k_max[summary + d]);
  }
  return bound;
}

}  // namespace

int64_t page_bound_workspace_bytes(const PageBoundParams& /*params*/) {
  return 0;
}

void page_bound(const PageBoundParams& params) {
  const int64_t num_pages = (params.kv_len + kBoundPageSize - 1) / kBoundPageSize;
#pragma omp parallel for
  for (int64_t head = 0; head < params.num_kv_heads; ++head) {
    std::vector<uint32_t> keys;
    std::vector<int64_t> chosen;
    std::vector<int64_t> candidates;
    for (int64_t page = 0; page < num_pages; ++page) {
      keys.push_back(score_key(upper_bound(params, page, head)));
      const int64_t end = std::min((page + 1) * kBoundPageSize, params.kv_len);
      const bool forced =
          page * kBoundPageSize < params.sink || end > params.kv_len - params.recent;
      (forced ? chosen : candidates).push_back(page);
    }
    std::stable_sort(candidates.begin(), candidates.end(), [&](int64_t a, int64_t b) {
      return keys[static_cast<size_t>(a)] > keys[static_cast<size_t>(b)];
    });
    for (const int64_t page : candidates) {
      if (params.kv_len <= params.budget ||
          static_cast<int64_t>(chosen.size()) < params.budget / kBoundPageSize) {
        chosen.push_back(page);
      }
    }
    std::sort(chosen.begin(), chosen.end());
    int32_t count = 0;
    for (const int64_t page : chosen) {
      const int64_t end = std::min((page + 1) * kBoundPageSize, params.kv_len);
      for (int64_t position = page * kBoundPageSize; position < end; ++position) {
        params.token_ids[head * params.token_ids_stride + count++] = static_cast<int32_t>(position);
      }
    }
    params.num_ids[head] = count;
  }
}

}  // namespace lychee::attention::cpu
