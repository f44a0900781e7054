#include "kernels/attention/select_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace lychee::attention::reference {

namespace {

using Positions = std::vector<int32_t>;

size_t as_size(int64_t value) {
  return static_cast<size_t>(value);
}

// NaN counts as -inf.
std::vector<double> clean_scores(const float* scores, int64_t kv_len) {
  std::vector<double> clean(scores, scores + kv_len);
  for (double& score : clean) {
    if (std::isnan(score)) {
      score = -std::numeric_limits<double>::infinity();
    }
  }
  return clean;
}

// The softmax before its division. Where the formula is ∞ - ∞ its limit: equal weights of the
// tokens at the maximum.
std::vector<double> softmax_weights(const std::vector<double>& scores, double scale) {
  const double max = *std::max_element(scores.begin(), scores.end());
  std::vector<double> weights;
  weights.reserve(scores.size());
  for (const double score : scores) {
    weights.push_back(score == max ? 1.0 : std::exp((score - max) * scale));
  }
  return weights;
}

// Positions that are not forced, best first; stable, so equal scores keep the lower one first.
Positions ranked_candidates(const std::vector<double>& scores, const Selection& selection) {
  const auto kv_len = static_cast<int64_t>(scores.size());
  Positions candidates(as_size(kv_len - selection.sink - selection.recent));
  std::iota(candidates.begin(), candidates.end(), selection.sink);
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](int32_t a, int32_t b) { return scores[as_size(a)] > scores[as_size(b)]; });
  return candidates;
}

Positions forced_tokens(int64_t kv_len, const Selection& selection) {
  Positions forced(as_size(selection.sink));
  std::iota(forced.begin(), forced.end(), 0);
  for (int64_t position = kv_len - selection.recent; position < kv_len; ++position) {
    forced.push_back(static_cast<int32_t>(position));
  }
  return forced;
}

// For each number of the best candidates, the weight of the candidates behind them: what a set
// leaves out, summed from the least on, so that it is 0 exactly where the rest weighs nothing.
std::vector<double> weights_behind(const Positions& ranked, const std::vector<double>& weights) {
  std::vector<double> behind(ranked.size() + 1, 0);
  for (size_t count = ranked.size(); count > 0; --count) {
    behind[count - 1] = behind[count] + weights[as_size(ranked[count - 1])];
  }
  return behind;
}

Positions select_by_rank(const std::vector<double>& scores, const Selection& selection,
                         double scale, int64_t budget) {
  const auto kv_len = static_cast<int64_t>(scores.size());
  const std::vector<double> weights = softmax_weights(scores, scale);
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const Positions ranked = ranked_candidates(scores, selection);
  const std::vector<double> behind = weights_behind(ranked, weights);
  Positions set = forced_tokens(kv_len, selection);
  for (size_t count = 0; count < ranked.size(); ++count) {
    if (static_cast<int64_t>(set.size()) == budget ||
        (selection.mode == SelectMode::kMass && behind[count] <= (1 - selection.mass) * sum) ||
        (selection.mode == SelectMode::kThreshold &&
         weights[as_size(ranked[count])] / sum < selection.threshold)) {
      break;
    }
    set.push_back(ranked[count]);
  }
  return set;
}

Positions select_blocks(const std::vector<double>& scores, const Selection& selection) {
  constexpr int64_t kBlock = Selection::kBlockSize;
  const auto kv_len = static_cast<int64_t>(scores.size());
  const int64_t num_blocks = (kv_len + kBlock - 1) / kBlock;
  std::vector<double> best(as_size(num_blocks), -std::numeric_limits<double>::infinity());
  std::vector<int64_t> chosen;
  std::vector<int64_t> candidates;
  for (int64_t position = 0; position < kv_len; ++position) {
    double& block = best[as_size(position / kBlock)];
    block = std::max(block, scores[as_size(position)]);
  }
  for (int64_t block = 0; block < num_blocks; ++block) {
    const int64_t last = std::min((block + 1) * kBlock, kv_len) - 1;
    const bool forced = block * kBlock < selection.sink || last >= kv_len - selection.recent;
    (forced ? chosen : candidates).push_back(block);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](int64_t a, int64_t b) { return best[as_size(a)] > best[as_size(b)]; });
  for (const int64_t block : candidates) {
    if (static_cast<int64_t>(chosen.size()) < selection.budget / kBlock) {
      chosen.push_back(block);
    }
  }
  Positions set;
  for (const int64_t block : chosen) {
    for (int64_t p = block * kBlock; p < std::min((block + 1) * kBlock, kv_len); ++p) {
      set.push_back(static_cast<int32_t>(p));
    }
  }
  return set;
}

}  // namespace

void select_tokens(const SelectTokensParams& params) {
  for (int64_t row = 0; row < params.num_rows; ++row) {
    const int64_t kv_len = params.kv_lens[row];
    const int64_t budget = effective_budget(params.selection, kv_len);
    const std::vector<double> scores =
        clean_scores(params.scores + row * params.scores_stride, kv_len);
    Positions set;
    if (kv_len <= budget) {
      set.resize(as_size(kv_len));
      std::iota(set.begin(), set.end(), 0);
    } else if (params.selection.mode == SelectMode::kBlock) {
      set = select_blocks(scores, params.selection);
    } else {
      set = select_by_rank(scores, params.selection, double{params.scale}, budget);
    }
    std::sort(set.begin(), set.end());
    std::copy(set.begin(), set.end(), params.token_ids + row * params.token_ids_stride);
    params.num_ids[row] = static_cast<int32_t>(set.size());
  }
}

}  // namespace lychee::attention::reference
