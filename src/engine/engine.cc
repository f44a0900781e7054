#include "lychee/engine.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "engine/engine_impl.h"
#include "kernels/linear/linear.h"
#include "kernels/sampling/sample.h"

namespace lychee {

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

const ModelInfo& Engine::model() const {
  return impl_->info;
}
int64_t Engine::cache_capacity() const {
  return impl_->cache->num_pages() * attention::kPageSize;
}
int64_t Engine::cache_bytes_per_token() const {
  return impl_->cache->shape().bytes_per_token();
}
int64_t Engine::cache_tokens_in_use() const {
  return impl_->cache->pages_in_use() * attention::kPageSize;
}

std::vector<int32_t> Engine::encode(std::string_view text) const {
  return impl_->require_tokenizer().encode(text, true);
}

std::string Engine::decode_text(std::span<const int32_t> ids, bool skip_special) const {
  return impl_->require_tokenizer().decode(ids, skip_special);
}

std::string Engine::render_chat(
    std::span<const std::pair<std::string, std::string>> messages) const {
  std::vector<text::ChatMessage> chat;
  for (const auto& [role, content] : messages) {
    chat.push_back({role, content});
  }
  return impl_->require_chat_format().render(chat, true);
}

std::vector<int32_t> Engine::encode_chat(
    std::span<const std::pair<std::string, std::string>> messages) const {
  return impl_->require_tokenizer().encode(render_chat(messages), false);
}

namespace {

void check_sampling(const GenerationOptions& options) {
  const auto check = [](bool ok, std::string_view name, auto value, std::string_view wanted) {
    require(ok, ErrorCode::kInvalidArgument, name, " ", value, " must be ", wanted);
  };
  check(options.temperature >= 0 && std::isfinite(options.temperature), "temperature",
        options.temperature, "finite and at least 0");
  check(options.top_k >= 0, "top_k", options.top_k, "at least 0");
  check(options.top_p >= 0 && options.top_p <= 1, "top_p", options.top_p, "between 0 and 1");
  check(options.min_p >= 0 && options.min_p <= 1, "min_p", options.min_p, "between 0 and 1");
  check(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty),
        "repetition_penalty", options.repetition_penalty, "finite and above 0");
  check(options.max_tokens >= 0, "max_tokens", options.max_tokens, "at least 0");
}

}  // namespace

Sequence Engine::create_sequence(const GenerationOptions& options) {
  check_sampling(options);
  return Sequence(std::make_unique<Sequence::Impl>(
      *impl_->cache, *impl_->pending, options,
      model::AttentionPolicy(options, impl_->info.num_layers, impl_->info.num_kv_heads)));
}

Sequence Engine::fork(const Sequence& sequence) {
  return fork(sequence, sequence.options());
}

Sequence Engine::fork(const Sequence& sequence, const GenerationOptions& options) {
  Sequence copy = create_sequence(options);
  copy.impl_->table = impl_->cache->share(sequence.impl_->table);
  if (options.policy == Policy::kPageBound) {
    copy.impl_->summaries.table = impl_->cache->share(sequence.impl_->summaries.table);
    copy.impl_->summaries.num_complete = sequence.impl_->summaries.num_complete;
  }
  copy.impl_->token_ids = sequence.impl_->token_ids;
  copy.impl_->logits = sequence.impl_->fetch_logits();
  if (options.cache_correction > 0) {
    copy.impl_->uncorrected = sequence.impl_->uncorrected;
  }
  return copy;
}

bool Engine::prefill(Sequence& sequence, std::span<const int32_t> token_ids,
                     const ProgressCallback& progress, const LogitsCallback& logits) {
  if (token_ids.empty()) {
    return true;
  }
  Sequence::Impl& target = *sequence.impl_;
  const int64_t begin = sequence.length();
  const int64_t total = std::ssize(token_ids);
  impl_->check_tokens(token_ids);
  impl_->make_room(target, begin, begin + total);
  target.uncorrected.clear();
  target.forget_logits();
  bool going = true;
  int64_t rows = 0;
  for (int64_t done = 0; done < total && going; done += rows) {
    rows = std::min<int64_t>(impl_->prefill_chunk, total - done);
    impl_->run_prefill_chunk(
        target, token_ids.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)),
        begin + total);
    if (logits) {
      impl_->emit_logits(begin + done, rows, logits);
    }
    going = !progress || progress(done + rows, total) || done + rows == total;
  }
  impl_->truncate(target, sequence.length());
  impl_->pending->set(rows - 1, {&target.logits});
  return sequence.length() == begin + total;
}

void Engine::decode(Sequence& sequence, int32_t token_id) {
  Sequence* const one = &sequence;
  decode({&one, 1}, {&token_id, 1});
}

void Engine::decode(std::span<Sequence* const> sequences, std::span<const int32_t> token_ids) {
  require(sequences.size() == token_ids.size(), ErrorCode::kInvalidArgument, "decode of ",
          sequences.size(), " sequences got ", token_ids.size(), " tokens");
  impl_->check_tokens(token_ids);
  // All of the room, or none: sequences are unchanged when it is not to be had.
  for (const Sequence* sequence : sequences) {
    const int64_t end = sequence->length() + 1;
    impl_->make_room(*sequence->impl_, end - sequence->impl_->tokens_written_next(), end);
  }
  for (const Sequence* sequence : sequences) {
    sequence->impl_->forget_logits();
  }
  std::vector<Sequence::Impl*> batch;
  std::vector<int32_t> ids;
  const auto flush = [&] {
    if (!batch.empty()) {
      impl_->decode_batch(batch, ids);
      batch.clear();
      ids.clear();
    }
  };
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence::Impl& sequence = *sequences[i]->impl_;
    if (sequence.correction_is_due()) {
      impl_->correct(sequence, token_ids[i]);
      continue;
    }
    batch.push_back(&sequence);
    ids.push_back(token_ids[i]);
    if (std::ssize(batch) == linear::kMaxDecodeRows) {
      flush();
    }
  }
  flush();
}

void Engine::truncate(Sequence& sequence, int64_t length) {
  require(length >= 0 && length <= sequence.length(), ErrorCode::kInvalidArgument,
          "cannot truncate a sequence of ", sequence.length(), " tokens to ", length);
  Sequence::Impl& target = *sequence.impl_;
  const int64_t dropped = sequence.length() - length;
  target.uncorrected.resize(
      static_cast<size_t>(std::max<int64_t>(0, std::ssize(target.uncorrected) - dropped)));
  target.token_ids.resize(static_cast<size_t>(length));
  impl_->truncate(target, length);
  if (dropped > 0) {
    target.forget_logits();
  }
}

void Engine::wait() {
  impl_->decoder->wait();
}

int32_t Engine::sample(Sequence& sequence) {
  Sequence::Impl& target = *sequence.impl_;
  require(target.has_logits(), ErrorCode::kInvalidArgument,
          "sample: the sequence has no logits yet; prefill it first");
  const GenerationOptions& options = target.options;
  const double uniform = static_cast<double>(target.random() >> 11) * 0x1p-53;
  const sampling::SampleParams params = {.temperature = options.temperature,
                                         .top_k = options.top_k,
                                         .top_p = options.top_p,
                                         .min_p = options.min_p,
                                         .repetition_penalty = options.repetition_penalty};
  if (const std::optional<int32_t> id = impl_->pending->draw(target.logits, params, uniform)) {
    return *id;
  }
  const std::span<const float> logits =
      std::span(target.fetch_logits()).first(static_cast<size_t>(impl_->sampled_vocab));
  return sampling::cpu::sample(logits, params, target.token_ids, uniform);
}

bool Engine::is_end_token(const Sequence& sequence, int32_t token_id) const {
  const GenerationOptions& options = sequence.options();
  const auto contains = [&](const std::vector<int32_t>& ids) {
    return std::find(ids.begin(), ids.end(), token_id) != ids.end();
  };
  return contains(options.stop_token_ids) || (!options.ignore_eos && contains(impl_->info.eos_ids));
}

}  // namespace lychee
