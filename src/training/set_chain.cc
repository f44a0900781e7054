#include "training/set_chain.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

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

template <typename Real>
SetChain<Real>::SetChain(const io::ModelConfig& config, Backend<Real>& backend, Chain chain,
                         const Selection& selection, int64_t max_rows, int64_t max_len)
    : backend_(backend),
      chain_(chain),
      selection_(chain == Chain::kPublished ? kPublishedSelection : selection),
      max_budget_(selection_.budget),
      num_layers_(config.num_layers),
      num_kv_heads_(config.num_kv_heads),
      num_heads_(chain == Chain::kPublished ? config.num_q_heads : config.num_kv_heads),
      scale_(1 / std::sqrt(static_cast<float>(config.head_dim))),
      selected_(static_cast<size_t>(config.num_layers)),
      wanted_(static_cast<size_t>(config.num_layers * config.num_kv_heads)),
      sets_(static_cast<size_t>(config.num_layers * num_heads_)),
      kv_lens_(backend.template make<int64_t>(num_heads_ * max_rows)) {
  const int64_t sets = num_heads_ * max_rows;
  for (size_t layer = 0; layer + 1 < selected_.size(); ++layer) {
    selected_[layer] = {backend.template make<int32_t>(sets * max_selected(selection_, max_len)),
                        backend.template make<int32_t>(sets)};
  }
  attention::SelectTokensParams largest{};
  largest.num_rows = static_cast<int>(sets);
  largest.scores_stride = max_len;
  largest.selection = selection_;
  workspace_ = backend.template make<std::byte>(backend.workspace_bytes(largest));
}

template <typename Real>
void SetChain<Real>::set_budget(int budget) {
  if (chain_ == Chain::kInference) {
    require(budget <= max_budget_, ErrorCode::kInternal, "a budget of ", budget, ", built for ",
            max_budget_);
    selection_.budget = budget;
  }
}

template <typename Real>
bool SetChain<Real>::wants(int layer, int head) const {
  const int kv_head = head / (num_heads_ / num_kv_heads_);
  return wanted_[static_cast<size_t>(int64_t{layer} * num_kv_heads_ + kv_head)] != 0;
}

template <typename Real>
const attention::RowSets* SetChain<Real>::sets(int layer) const {
  return layer == 0 ? nullptr : sets_.data() + int64_t{layer} * num_heads_;
}

template <typename Real>
const uint8_t* SetChain<Real>::wanted(int layer) const {
  const auto begin = wanted_.begin() + static_cast<int64_t>(layer) * num_kv_heads_;
  const bool any = std::any_of(begin, begin + num_kv_heads_, [](uint8_t one) { return one != 0; });
  return any ? &*begin : nullptr;
}

// What `layer` selects, and who reads which set in the layer above.
template <typename Real>
void SetChain<Real>::plan_layer(int layer, std::span<const double> z) {
  for (int head = 0; head < num_kv_heads_; ++head) {
    wanted_[static_cast<size_t>(int64_t{layer} * num_kv_heads_ + head)] =
        chain_ == Chain::kPublished || z[static_cast<size_t>(head)] > 0.5 ? 1 : 0;
  }
  const Selected& selected = selected_[static_cast<size_t>(layer)];
  for (int head = 0; head < num_heads_; ++head) {
    const auto here = static_cast<size_t>(int64_t{layer} * num_heads_ + head);
    const int64_t first = head * num_rows_;
    sets_[here + static_cast<size_t>(num_heads_)] =
        wants(layer, head) ? attention::RowSets{selected.ids.data() + first * stride_,
                                                selected.num_ids.data() + first, stride_}
                           : sets_[here];
  }
}

template <typename Real>
void SetChain<Real>::send_lengths(int64_t num_rows, int64_t context_len) {
  if (num_rows == num_rows_ && context_len == context_len_) {
    return;
  }
  num_rows_ = num_rows;
  context_len_ = context_len;
  std::vector<int64_t> lengths(static_cast<size_t>(num_heads_ * num_rows));
  for (size_t i = 0; i < lengths.size(); ++i) {
    lengths[i] = context_len + static_cast<int64_t>(i) % num_rows + 1;
  }
  backend_.send(kv_lens_.data(), std::span<const int64_t>(lengths));
}

template <typename Real>
void SetChain<Real>::begin(int64_t num_rows, int64_t context_len, std::span<const double> z) {
  send_lengths(num_rows, context_len);
  stride_ = max_selected(selection_, context_len + num_rows);
  std::fill(wanted_.begin(), wanted_.end(), uint8_t{0});
  std::fill(sets_.begin(), sets_.end(), attention::RowSets{});
  const auto heads = static_cast<size_t>(num_kv_heads_);
  for (int layer = 0; layer + 1 < num_layers_; ++layer) {  // nothing reads what the last selects
    plan_layer(layer, z.subspan(static_cast<size_t>(layer) * heads, heads));
  }
}

template <typename Real>
void SetChain<Real>::select_heads(int layer, int first_head, int count, const float* scores,
                                  int64_t scores_stride) {
  const Selected& selected = selected_[static_cast<size_t>(layer)];
  const int64_t first = first_head * num_rows_;
  attention::SelectTokensParams p{};
  p.num_rows = static_cast<int>(count * num_rows_);
  p.scores = scores + first * scores_stride;
  p.scores_stride = scores_stride;
  p.kv_lens = kv_lens_.data();
  p.selection = selection_;
  p.scale = scale_;
  p.token_ids = selected.ids.data() + first * stride_;
  p.token_ids_stride = stride_;
  p.num_ids = selected.num_ids.data() + first;
  p.workspace = workspace_.data();
  backend_.select_tokens(p);
}

template <typename Real>
void SetChain<Real>::select(int layer, const float* scores, int64_t scores_stride) {
  // Neighbours in one call: small models have too few rows to fill a GPU head by head.
  for (int head = 0; head < num_heads_;) {
    int end = head;
    while (end < num_heads_ && wants(layer, end)) {
      ++end;
    }
    if (end > head) {
      select_heads(layer, head, end - head, scores, scores_stride);
    }
    head = end + 1;
  }
}

template class SetChain<float>;
template class SetChain<double>;

}  // namespace lychee::training
