#include "engine/pending_logits.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lychee::engine {

void PendingLogits::set(int64_t first_row, std::vector<Logits*> owners) {
  require(owners_.empty(), ErrorCode::kInternal, "logits of an earlier pass are still pending");
  first_row_ = first_row;
  owners_ = std::move(owners);
  for (Logits* owner : owners_) {
    owner->clear();
  }
}

std::optional<int64_t> PendingLogits::row_of(const Logits& owner) const {
  const auto it = std::find(owners_.begin(), owners_.end(), &owner);
  return it == owners_.end() ? std::nullopt : std::optional(first_row_ + (it - owners_.begin()));
}

void PendingLogits::forget(const Logits& owner) {
  for (Logits*& candidate : owners_) {
    candidate = candidate == &owner ? nullptr : candidate;
  }
  if (std::all_of(owners_.begin(), owners_.end(), [](const Logits* left) { return !left; })) {
    owners_.clear();
  }
}

void PendingLogits::fetch() {
  if (owners_.empty()) {
    return;
  }
  const auto vocab = static_cast<size_t>(decoder_.weights().lm_head.out_features);
  std::vector<float> rows(owners_.size() * vocab);
  decoder_.logits(first_row_, std::ssize(owners_), rows.data());
  for (size_t i = 0; i < owners_.size(); ++i) {
    if (owners_[i] != nullptr) {
      const auto begin = rows.begin() + static_cast<int64_t>(i * vocab);
      owners_[i]->assign(begin, begin + static_cast<int64_t>(vocab));
    }
  }
  owners_.clear();
}

std::optional<int32_t> PendingLogits::draw(const Logits& owner,
                                           const sampling::SampleParams& params,
                                           double uniform) const {
  const std::optional<int64_t> row = row_of(owner);
  return row ? decoder_.draw(*row, params, uniform) : std::nullopt;
}

}  // namespace lychee::engine
