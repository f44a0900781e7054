#include "engine/sequence.h"

#include <utility>

#include "base/check.h"
#include "engine/log_probs.h"
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
  cache.truncate(summaries.table, 0);
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
  return engine::top_log_probs(impl_->fetch_logits(), count);
}

}  // namespace lychee
