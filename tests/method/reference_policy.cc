// Who reads what in a decode step: algorithm.md, section 2.

#include <algorithm>
#include <cmath>

#include "method/reference_model.h"
#include "method/reference_selection.h"

namespace lychee::test {

namespace {

constexpr int64_t kBoundPage = 16;  // tokens per page of `page-bound`

int64_t dtype_size(std::optional<DType> dtype) {
  return dtype == DType::kF16 || dtype == DType::kBF16 ? 2 : 4;
}

}  // namespace

bool ReferenceSequence::is_retrieval(int layer, int kv_head) const {
  return layer == 0 || options_.head_plan->role(layer, kv_head) == HeadRole::kRetrieval;
}

bool ReferenceSequence::is_selecting_layer(int layer) const {
  const std::vector<int>& named = options_.selecting_layers;
  if (named.empty()) {
    return layer == 2 || layer == model_->config().num_layers / 2;
  }
  return std::find(named.begin(), named.end(), layer) != named.end();
}

ReferenceSequence::TokenSet ReferenceSequence::read_set(int layer, int kv_head,
                                                        const std::vector<double>& q, int64_t n,
                                                        bool dense) {
  if (dense) {
    return std::nullopt;
  }
  switch (options_.policy) {
    case Policy::kDense:
      return std::nullopt;
    case Policy::kHybrid:
      return is_retrieval(layer, kv_head) ? std::nullopt : carried_[static_cast<size_t>(kv_head)];
    case Policy::kLayerShared: {
      // Layers 0, 1 and the selecting ones are dense; so is what no set has reached yet.
      const bool reads_all = layer <= 1 || is_selecting_layer(layer);
      return reads_all ? std::nullopt : carried_[static_cast<size_t>(kv_head)];
    }
    case Policy::kStreaming:
      return reference_streaming(n, options_.selection).positions;
    case Policy::kDuo:
      return is_retrieval(layer, kv_head)
                 ? std::nullopt
                 : TokenSet(reference_streaming(n, options_.selection).positions);
    case Policy::kPageBound:
      break;
  }
  return select_pages(layer, kv_head, q, n);
}

// The upper bound of (mean query)·k over a page, from the minimum and maximum of every dimension.
ReferenceSequence::TokenSet ReferenceSequence::select_pages(int layer, int kv_head,
                                                            const std::vector<double>& q,
                                                            int64_t n) {
  const Cache& cache = cache_[static_cast<size_t>(layer)][static_cast<size_t>(kv_head)];
  const std::vector<double> mean = mean_query(q, kv_head);
  std::vector<double> bounds;
  for (int64_t first = 0; first < n; first += kBoundPage) {
    double bound = 0;
    for (size_t i = 0; i < mean.size(); ++i) {
      double low = cache.k[static_cast<size_t>(first)][i];
      double high = low;
      for (int64_t position = first; position < std::min(n, first + kBoundPage); ++position) {
        low = std::min(low, cache.k[static_cast<size_t>(position)][i]);
        high = std::max(high, cache.k[static_cast<size_t>(position)][i]);
      }
      bound += std::max(mean[i] * low, mean[i] * high);
    }
    bounds.push_back(bound);
  }
  const ReferenceSet set = reference_select_pages(bounds, n, options_.selection);
  smallest_gap_ = std::min(smallest_gap_, set.gap);
  if (n > options_.selection.budget) {
    // A minimum and a maximum per dimension, both values of the cache.
    summary_bytes_ +=
        static_cast<double>(bounds.size() * mean.size() * 2 * dtype_size(kv_rounding_));
  }
  return set.positions;
}

void ReferenceSequence::update_carried(int layer, const std::vector<double>& q, int64_t n) {
  const io::ModelConfig& config = model_->config();
  const double scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  if (options_.policy == Policy::kHybrid) {
    for (int head = 0; head < config.num_kv_heads; ++head) {
      if (is_retrieval(layer, head)) {
        const ReferenceSet set =
            reference_select(scores(layer, head, q, n), options_.selection, scale);
        // What nobody reads cannot matter.
        bool read = false;
        for (int above = layer + 1; above < config.num_layers && !is_retrieval(above, head);
             ++above) {
          read = true;
        }
        smallest_gap_ = read ? std::min(smallest_gap_, set.gap) : smallest_gap_;
        carried_[static_cast<size_t>(head)] = set.positions;
      }
    }
  } else if (options_.policy == Policy::kLayerShared && is_selecting_layer(layer)) {
    std::vector<double> sum(static_cast<size_t>(n), 0);
    for (int head = 0; head < config.num_kv_heads; ++head) {
      const std::vector<double> own = scores(layer, head, q, n);
      for (size_t i = 0; i < own.size(); ++i) {
        sum[i] += own[i];
      }
    }
    const ReferenceSet set = reference_select(sum, options_.selection, scale);
    smallest_gap_ = std::min(smallest_gap_, set.gap);
    carried_.assign(carried_.size(), set.positions);
  }
}

// Dense heads count n, the others their set; a correction is one dense pass, which reads K and V
// once.
void ReferenceSequence::account(int64_t n) {
  const double token_bytes =
      2.0 * model_->config().head_dim * static_cast<double>(dtype_size(kv_rounding_));
  for (const auto& layer : sets_) {
    for (const TokenSet& set : layer) {
      stats_.kv_bytes_read += token_bytes * static_cast<double>(set ? set->size() : size_t(n));
      stats_.kv_bytes_read_dense += token_bytes * static_cast<double>(n);
    }
  }
  stats_.kv_bytes_read += summary_bytes_;
}

}  // namespace lychee::test
