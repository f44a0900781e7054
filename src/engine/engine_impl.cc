#include "engine/engine_impl.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/math.h"
#include "base/memory_info.h"
#include "kernels/cpu/threads.h"
#include "kernels/linear/linear.h"
#include "model/transformer.h"

namespace lychee {

using attention::kPageSize;

namespace {

DType choose_kv_dtype(KvDtype wanted, DType weights) {
  switch (wanted) {
    case KvDtype::kF32:
      return DType::kF32;
    case KvDtype::kF16:
      return DType::kF16;
    case KvDtype::kBF16:
      return DType::kBF16;
    case KvDtype::kAuto:
      break;
  }
  return weights == DType::kF32 || weights == DType::kBF16 ? weights : DType::kF16;
}

// Positions and page ids are 32-bit numbers.
constexpr int64_t kMaxCacheTokens = std::numeric_limits<int32_t>::max();
// Beyond what machines have; libgomp crashes when the system refuses it a thread.
constexpr int kMaxThreads = 1024;

void check_options(const EngineOptions& options) {
  require(options.device != Device::kCuda, ErrorCode::kUnsupported,
          "device cuda: this build has no CUDA support");
  require(options.prefill_chunk >= 1, ErrorCode::kInvalidArgument, "prefill chunk ",
          options.prefill_chunk, " must be at least 1");
  require(options.threads >= 0 && options.threads <= kMaxThreads, ErrorCode::kInvalidArgument,
          "threads ", options.threads, " must be between 0 (all cores) and ", kMaxThreads);
  require(options.max_cache_tokens >= 0 && options.max_cache_tokens <= kMaxCacheTokens,
          ErrorCode::kInvalidArgument, "a KV cache of ", options.max_cache_tokens,
          " tokens must be between 0 (what memory allows) and ", kMaxCacheTokens);
}

// Checked before anything is opened.
const EngineOptions& checked(const EngineOptions& options) {
  check_options(options);
  return options;
}

// Pages for the wanted number of tokens, or for what memory is left beside the weights. Address
// space alone is taken now; memory follows as pages fill.
int64_t choose_num_pages(const EngineOptions& options, int64_t weight_bytes,
                         int64_t bytes_per_token) {
  if (options.max_cache_tokens > 0) {
    return ceil_div(options.max_cache_tokens, int64_t{kPageSize});
  }
  constexpr int64_t kReserve = 512 << 20;  // activations, scratch, the system
  const int64_t tokens = (available_memory_bytes() - weight_bytes - kReserve) / bytes_per_token;
  require(tokens >= kPageSize, ErrorCode::kOutOfMemory,
          "no memory for a KV cache: ", available_memory_bytes() >> 20,
          " MiB are available, the weights take ", weight_bytes >> 20, " MiB and a token ",
          bytes_per_token, " bytes");
  return ceil_div(std::min(tokens, kMaxCacheTokens), int64_t{kPageSize});
}

ModelInfo describe(const io::ModelFiles& files) {
  const io::ModelConfig& config = files.config;
  ModelInfo info;
  info.name = files.name;
  info.architecture = io::architecture_name(config.architecture);
  info.num_layers = config.num_layers;
  info.hidden_size = config.hidden_size;
  info.num_q_heads = config.num_q_heads;
  info.num_kv_heads = config.num_kv_heads;
  info.head_dim = config.head_dim;
  info.vocab_size = config.vocab_size;
  info.context_length = config.context_length;
  info.weight_bytes = files.weight_bytes;
  info.header_sha256 = files.header_sha256;
  info.device = "cpu";
  info.eos_ids = files.generation.eos_ids;
  info.has_chat_template = !files.chat_template.empty();
  return info;
}

}  // namespace

Engine::Impl::Impl(const EngineOptions& options)
    : files(io::open_model(checked(options).model)),
      info(describe(files)),
      prefill_chunk(options.prefill_chunk),
      sampled_vocab(info.vocab_size) {
  cpu::set_num_threads(options.threads);
  info.threads = cpu::num_threads();
  if (options.load_tokenizer && files.tokenizer) {
    tokenizer.emplace(*files.tokenizer);
    info.has_tokenizer = true;
    sampled_vocab = std::min(sampled_vocab, tokenizer->vocab_size());
    // The chat format needs the special tokens still; the large tables live in the tokenizer alone.
    files.tokenizer->tokens = {};
    files.tokenizer->merges = {};
    files.tokenizer->scores = {};
  }
  const model::KvCacheShape shape{info.num_layers, info.num_kv_heads, info.head_dim,
                                  choose_kv_dtype(options.kv_dtype, files.config.dtype)};
  info.kv_dtype = dtype_info(shape.dtype).name;
  cache = std::make_unique<model::KvCache>(
      shape, choose_num_pages(options, files.weight_bytes, shape.bytes_per_token()));
  decoder =
      std::make_unique<model::Transformer>(files, *cache, options.prefill_chunk, options.exact);
  pending = std::make_unique<engine::PendingLogits>(*decoder);
  info.weight_bytes_per_step = decoder->weights().bytes_per_step();
  info.layer_parameters = decoder->weights().layer_parameters();
}

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
         cache->prepare_write(sequence.table, length + 1 - sequence.tokens_written_next(),
                              length + 1);
}

void Engine::Impl::make_room(Sequence::Impl& sequence, int64_t begin, int64_t end) {
  require(end <= info.context_length, ErrorCode::kInvalidArgument, "a sequence of ", end,
          " tokens is longer than the model's context of ", info.context_length);
  if (!cache->prepare_write(sequence.table, begin, end)) {
    const int64_t own = static_cast<int64_t>(sequence.table.pages().size());
    fail(ErrorCode::kOutOfMemory, "a sequence of ", end,
         " tokens does not fit in the KV cache: ", "at most ",
         (own + cache->free_pages()) * kPageSize, " fit beside the other sequences, at ",
         cache->shape().bytes_per_token(), " bytes a token");
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
  const int64_t kv_len = static_cast<int64_t>(sequence.token_ids.size());
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
  sequence.summaries.invalidate_from(begin);
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
