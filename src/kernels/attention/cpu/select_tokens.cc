#include "kernels/attention/select_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/attention/cpu/rank.h"

namespace lychee::attention::cpu {

namespace {

using Ids = std::vector<int32_t>;

void sort_by_key(Ids& ids, const std::vector<uint32_t>& keys) {
  std::sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    const uint32_t key_a = keys[static_cast<size_t>(a)];
    const uint32_t key_b = keys[static_cast<size_t>(b)];
    return key_a > key_b || (key_a == key_b && a < b);
  });
}

std::vector<double> softmax(const float* scores, int64_t kv_len, double scale) {
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < kv_len; ++i) {
    max = std::isnan(scores[i]) ? max : std::max(max, double{scores[i]});
  }
  std::vector<double> shares(static_cast<size_t>(kv_len));
  for (int64_t i = 0; i < kv_len; ++i) {
    const double score =
        std::isnan(scores[i]) ? -std::numeric_limits<double>::infinity() : double{scores[i]};
    shares[static_cast<size_t>(i)] = score == max ? 1.0 : std::exp((score - max) * scale);
  }
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) {
    share /= sum;
  }
  return shares;
}

Ids select_ranked(const SelectTokensParams& params, const float* scores, int64_t kv_len,
                  int64_t budget) {
  const Selection& selection = params.selection;
  std::vector<uint32_t> keys(static_cast<size_t>(kv_len));
  std::transform(scores, scores + kv_len, keys.begin(), score_key);
  Ids set(static_cast<size_t>(selection.sink + selection.recent));
  std::iota(set.begin(), set.begin() + selection.sink, 0);
  std::iota(set.begin() + selection.sink, set.end(),
            static_cast<int32_t>(kv_len - selection.recent));
  Ids candidates(static_cast<size_t>(kv_len) - set.size());
  std::iota(candidates.begin(), candidates.end(), selection.sink);
  sort_by_key(candidates, keys);
  candidates.resize(std::min(candidates.size(), static_cast<size_t>(budget) - set.size()));
  if (selection.mode == SelectMode::kMass || selection.mode == SelectMode::kThreshold) {
    const std::vector<double> shares = softmax(scores, kv_len, double{params.scale});
    double mass = 0;
    for (const int32_t id : set) {
      mass += shares[static_cast<size_t>(id)];
    }
    size_t count = 0;
    for (; count < candidates.size(); ++count) {
      const double share = shares[static_cast<size_t>(candidates[count])];
      if (selection.mode == SelectMode::kMass ? mass >= selection.mass
                                              : share < selection.threshold) {
        break;
      }
      mass += share;
    }
    candidates.resize(count);
  }
  set.insert(set.end(), candidates.begin(), candidates.end());
  return set;
}

Ids select_blocks(const Selection& selection, const float* scores, int64_t kv_len) {
  constexpr int kBlock = Selection::kBlockSize;
  const int64_t num_blocks = (kv_len + kBlock - 1) / kBlock;
  std::vector<uint32_t> keys(static_cast<size_t>(num_blocks), 0);
  Ids chosen;
  Ids candidates;
  for (int64_t i = 0; i < kv_len; ++i) {
    uint32_t& key = keys[static_cast<size_t>(i / kBlock)];
    key = std::max(key, score_key(scores[i]));
  }
  for (int32_t block = 0; block < num_blocks; ++block) {
    const bool forced = block * kBlock < selection.sink ||
                        std::min<int64_t>((block + 1) * kBlock, kv_len) > kv_len - selection.recent;
    (forced ? chosen : candidates).push_back(block);
  }
  sort_by_key(candidates, keys);
  const size_t wanted = static_cast<size_t>(selection.budget / kBlock);
  for (size_t i = 0; chosen.size() < wanted && i < candidates.size(); ++i) {
    chosen.push_back(candidates[i]);
  }
  Ids set;
  for (const int32_t block : chosen) {
    for (int64_t i = int64_t{block} * kBlock; i < std::min<int64_t>((block + 1) * kBlock, kv_len);
         ++i) {
      set.push_back(static_cast<int32_t>(i));
    }
  }
  return set;
}

}  // namespace

int64_t select_tokens_workspace_bytes(const SelectTokensParams& /*params*/) {
  return 0;
}

void select_tokens(const SelectTokensParams& params) {
#pragma omp parallel for schedule(dynamic)
  for (int64_t row = 0; row < params.num_rows; ++row) {
    const int64_t kv_len = params.kv_lens[row];
    const int64_t budget = effective_budget(params.selection, kv_len);
    const float* scores = params.scores + row * params.scores_stride;
    Ids set;
    if (kv_len <= budget) {
      set.resize(static_cast<size_t>(kv_len));
      std::iota(set.begin(), set.end(), 0);
    } else if (params.selection.mode == SelectMode::kBlock) {
      set = select_blocks(params.selection, scores, kv_len);
    } else {
      set = select_ranked(params, scores, kv_len, budget);
    }
    std::sort(set.begin(), set.end());
    std::copy(set.begin(), set.end(), params.token_ids + row * params.token_ids_stride);
    params.num_ids[row] = static_cast<int32_t>(set.size());
  }
}

}  // namespace lychee::attention::cpu
