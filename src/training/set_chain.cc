#include "training/set_chain.h"

namespace lychee::training {
namespace {

// ceil(0.3 · n) tokens with nothing forced.
constexpr Selection kPublishedSelection = {
    .mode = SelectMode::kRatio, .budget = 0, .sink = 0, .recent = 0, .ratio = 0.3};

}  // namespace

std::string_view chain_name(Chain chain) {
  return chain == Chain::kInference ? "inference" : "published";
}

std::optional<Chain> parse_chain(std::string_view name) {
  for (const Chain chain : {Chain::kInference, Chain::kPublished}) {
    if (chain_name(chain) == name) {
      return chain;
    }
  }
  return std::nullopt;
}

SetChain::SetChain(Chain chain, const Selection& selection, int num_q_heads, int num_kv_heads,
                   float scale, SelectTokens select, SelectWorkspace workspace_bytes)
    : chain_(chain),
      selection_(chain == Chain::kPublished ? kPublishedSelection : selection),
      num_heads_(chain == Chain::kPublished ? num_q_heads : num_kv_heads),
      heads_per_kv_head_(num_heads_ / num_kv_heads),
      scale_(scale),
      select_(select),
      workspace_bytes_(workspace_bytes) {}

void SetChain::set_budget(int budget) {
  if (chain_ == Chain::kInference) {
    selection_.budget = budget;
  }
}

void SetChain::begin(int64_t num_rows, int64_t context_len) {
  sets_.clear();
  kv_lens_.resize(static_cast<size_t>(num_rows));
  for (int64_t row = 0; row < num_rows; ++row) {
    kv_lens_[static_cast<size_t>(row)] = context_len + row + 1;
  }
}

std::vector<uint8_t> SetChain::wanted(std::span<const double> z) const {
  std::vector<uint8_t> wanted(z.size(), 1);
  for (size_t head = 0; head < z.size() && chain_ == Chain::kInference; ++head) {
    wanted[head] = z[head] > 0.5 ? 1 : 0;
  }
  return wanted;
}

std::shared_ptr<const HeadSets> SetChain::select_head(const float* scores, int64_t scores_stride) {
  auto sets = std::make_shared<HeadSets>();
  const size_t rows = kv_lens_.size();
  sets->stride = max_selected(selection_, kv_lens_.back());
  sets->ids.resize(rows * static_cast<size_t>(sets->stride));
  sets->num_ids.resize(rows);
  attention::SelectTokensParams p{.num_rows = static_cast<int>(rows),
                                  .scores = scores,
                                  .scores_stride = scores_stride,
                                  .kv_lens = kv_lens_.data(),
                                  .selection = selection_,
                                  .scale = scale_,
                                  .token_ids = sets->ids.data(),
                                  .token_ids_stride = sets->stride,
                                  .num_ids = sets->num_ids.data(),
                                  .workspace = nullptr};
  p.workspace = workspace_.take(workspace_bytes_(p));
  select_(p);
  return sets;
}

void SetChain::update(const std::vector<uint8_t>& wanted, const float* scores,
                      int64_t scores_stride) {
  sets_.resize(static_cast<size_t>(num_heads_));
  for (int head = 0; head < num_heads_; ++head) {
    if (wanted[static_cast<size_t>(head / heads_per_kv_head_)] != 0) {
      sets_[static_cast<size_t>(head)] = select_head(
          scores + head * static_cast<int64_t>(kv_lens_.size()) * scores_stride, scores_stride);
    }
  }
}

}  // namespace lychee::training
