#include "engine/sequence.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "kernels/sampling/sample.h"

namespace lychee {

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCanceled:
      return "canceled";
  }
  return "";
}

Sequence::Impl::Impl(model::KvCache& kv_cache, engine::PendingLogits& pending_logits,
                     const GenerationOptions& generation_options,
                     model::AttentionPolicy attention_policy)
    : cache(kv_cache),
      pending(pending_logits),
      options(generation_options),
      policy(std::move(attention_policy)),
      random(generation_options.seed) {}

Sequence::Impl::~Impl() {
  pending.forget(logits);
  cache.truncate(table, 0);
}

const std::vector<float>& Sequence::Impl::fetch_logits() {
  if (pending.has(logits)) {
    pending.fetch();
  }
  return logits;
}

void Sequence::Impl::forget_logits() {
  pending.forget(logits);
  logits.clear();
}

Sequence::Sequence(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sequence::~Sequence() = default;
Sequence::Sequence(Sequence&&) noexcept = default;
Sequence& Sequence::operator=(Sequence&&) noexcept = default;

int64_t Sequence::length() const {
  return static_cast<int64_t>(impl_->token_ids.size());
}
std::span<const int32_t> Sequence::token_ids() const {
  return impl_->token_ids;
}
const GenerationOptions& Sequence::options() const {
  return impl_->options;
}
const DecodeStats& Sequence::stats() const {
  return impl_->stats;
}
std::span<const float> Sequence::logits() const {
  return impl_->fetch_logits();
}

double Sequence::log_prob(int32_t id) const {
  const std::vector<float>& logits = impl_->fetch_logits();
  const auto vocab_size = static_cast<int64_t>(logits.size());
  require(id >= 0 && id < vocab_size, ErrorCode::kInvalidArgument, "token id ", id,
          " is outside the ", vocab_size, " logits at hand");
  return sampling::cpu::log_prob(logits, id);
}

std::vector<std::pair<int32_t, double>> Sequence::top_log_probs(int count) const {
  const std::vector<float>& logits = impl_->fetch_logits();
  const auto size = std::min(static_cast<size_t>(std::max(count, 0)), logits.size());
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<int64_t>(size), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)];
                      const float y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  const double normalizer = sampling::cpu::log_sum_exp(logits);
  std::vector<std::pair<int32_t, double>> best;
  for (size_t i = 0; i < size; ++i) {
    best.emplace_back(ids[i],
                      static_cast<double>(logits[static_cast<size_t>(ids[i])]) - normalizer);
  }
  return best;
}

}  // namespace lychee
