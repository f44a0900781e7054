#include "engine/engine_impl.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/math.h"
#include "kernels/linear/linear.h"

namespace lychee {

using attention::kPageSize;

const text::Tokenizer& Engine::Impl::require_tokenizer() const {
  require(tokenizer.has_value(), ErrorCode::kUnsupported, info.name,
          " comes without a tokenizer; give token ids instead of text");
  return *tokenizer;
}

const text::ChatFormat& Engine::Impl::require_chat_format() {
  if (!chat_format) {
    chat_format.emplace(files);
  }
  return *chat_format;
}

void Engine::Impl::check_tokens(std::span<const int32_t> ids) const {
  for (const int32_t id : ids) {
    require(id >= 0 && id < info.vocab_size, ErrorCode::kInvalidArgument, "token id ", id,
            " is outside the model's vocabulary of ", info.vocab_size);
  }
}

bool Engine::Impl::has_room(Sequence::Impl& sequence) {
  const auto length = static_cast<int64_t>(sequence.token_ids.size());
  return length < info.context_length &&
         prepare_pages(sequence, length + 1 - sequence.tokens_written_next(), length + 1);
}

bool Engine::Impl::prepare_pages(Sequence::Impl& sequence, int64_t begin, int64_t end) {
  if (!cache->prepare_write(sequence.table, begin, end)) {
    return false;
  }
  if (sequence.options.policy != Policy::kPageBound) {
    return true;
  }
  model::PageSummaries& summaries = sequence.summaries;
  summaries.invalidate_from(begin);
  return cache->prepare_write(summaries.table, summaries.num_complete,
                              ceil_div(end, int64_t{attention::kBoundPageSize}));
}

void Engine::Impl::truncate(Sequence::Impl& sequence, int64_t length) {
  cache->truncate(sequence.table, length);
  sequence.summaries.invalidate_from(length);
  cache->truncate(sequence.summaries.table, ceil_div(length, int64_t{attention::kBoundPageSize}));
}

void Engine::Impl::make_room(Sequence::Impl& sequence, int64_t begin, int64_t end) {
  require(end <= info.context_length, ErrorCode::kInvalidArgument, "a sequence of ", end,
          " tokens is longer than the model's context of ", info.context_length);
  if (!prepare_pages(sequence, begin, end)) {
    const auto own =
        std::ssize(sequence.table.pages()) + std::ssize(sequence.summaries.table.pages());
    // Pages of summaries, one to so many of tokens, are rounded up.
    const int64_t pages = own + cache->free_pages();
    const int64_t for_summaries = sequence.options.policy == Policy::kPageBound
                                      ? ceil_div(pages, int64_t{attention::kBoundPageSize} + 1)
                                      : 0;
    fail(ErrorCode::kOutOfMemory, "a sequence of ", end,
         " tokens does not fit in the KV cache: ", "at most ", (pages - for_summaries) * kPageSize,
         " fit beside the other sequences, at ", cache->shape().bytes_per_token(),
         " bytes a token");
  }
}

void Engine::Impl::run_prefill_chunk(Sequence::Impl& sequence, std::span<const int32_t> ids,
                                     int64_t rope_length) {
  const auto first = static_cast<int64_t>(sequence.token_ids.size());
  pending->fetch();
  decoder->prefill(ids, first, rope_length, sequence.table.pages());
  sequence.token_ids.insert(sequence.token_ids.end(), ids.begin(), ids.end());
}

void Engine::Impl::emit_logits(int64_t first_position, int64_t rows,
                               const LogitsCallback& callback) {
  const auto vocab = static_cast<size_t>(info.vocab_size);
  for (int64_t row = 0; row < rows; row += linear::kMaxDecodeRows) {
    const int64_t count = std::min(linear::kMaxDecodeRows, rows - row);
    batch_logits.resize(static_cast<size_t>(count) * vocab);
    decoder->logits(row, count, batch_logits.data());
    for (int64_t i = 0; i < count; ++i) {
      callback(first_position + row + i,
               std::span<const float>(batch_logits).subspan(static_cast<size_t>(i) * vocab, vocab));
    }
  }
}

void Engine::Impl::count_step(Sequence::Impl& sequence, double tokens_read) const {
  const auto kv_len = static_cast<int64_t>(sequence.token_ids.size());
  const double bytes = 2.0 * static_cast<double>(dtype_bytes(cache->shape().dtype, info.head_dim));
  sequence.stats.decode_steps += 1;
  sequence.stats.kv_bytes_read += tokens_read * bytes;
  sequence.stats.kv_bytes_read_dense +=
      static_cast<double>(kv_len) * info.num_layers * info.num_kv_heads * bytes;
}

void Engine::Impl::correct(Sequence::Impl& sequence, int32_t id) {
  std::vector<int32_t> ids = sequence.uncorrected;
  ids.push_back(id);
  const auto end = static_cast<int64_t>(sequence.token_ids.size()) + 1;
  const int64_t begin = end - static_cast<int64_t>(ids.size());
  make_room(sequence, begin, end);
  pending->fetch();
  // Longer periods than a prefill chunk go in pieces; causality makes that the same pass.
  int64_t rows = 0;
  for (size_t done = 0; done < ids.size(); done += static_cast<size_t>(rows)) {
    rows = std::min<int64_t>(prefill_chunk, static_cast<int64_t>(ids.size() - done));
    decoder->prefill(std::span<const int32_t>(ids).subspan(done, static_cast<size_t>(rows)),
                     begin + static_cast<int64_t>(done), end, sequence.table.pages());
  }
  pending->set(rows - 1, {&sequence.logits});
  sequence.token_ids.push_back(id);
  sequence.uncorrected.clear();
  sequence.stats.corrections += 1;
  count_step(sequence, static_cast<double>(end) * info.num_layers * info.num_kv_heads);
}

void Engine::Impl::decode_batch(std::span<Sequence::Impl* const> sequences,
                                std::span<const int32_t> ids) {
  std::vector<model::DecodeRow> rows;
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence::Impl& sequence = *sequences[i];
    const auto position = static_cast<int64_t>(sequence.token_ids.size());
    rows.push_back({.token_id = ids[i],
                    .position = position,
                    .pages = sequence.table.pages(),
                    .policy = &sequence.policy,
                    .summaries = &sequence.summaries,
                    .recall_observer = &sequence.options.recall_observer});
  }
  pending->fetch();
  decoder->decode(rows);
  std::vector<std::vector<float>*> owners;
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence::Impl& sequence = *sequences[i];
    owners.push_back(&sequence.logits);
    sequence.token_ids.push_back(ids[i]);
    if (sequence.options.cache_correction > 0) {
      sequence.uncorrected.push_back(ids[i]);
    }
    if (sequence.policy.automatic_dense(rows[i].position + 1)) {
      sequence.stats.dense_steps += 1;
    }
    count_step(sequence, rows[i].tokens_read);
  }
  pending->set(0, std::move(owners));
}

}  // namespace lychee
