#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/load_plan.h"
#include "engine/pending_logits.h"
#include "engine/sequence.h"
#include "io/model_files.h"
#include "lychee/engine.h"
#include "model/decoder.h"
#include "model/kv_cache.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace lychee {

struct Engine::Impl {
  explicit Impl(const EngineOptions& options);
  void load_tokenizer(bool wanted);
  void make_cuda_decoder(const EngineOptions& options, const engine::LoadPlan& plan);
  void describe(const EngineOptions& options, const engine::LoadPlan& plan,
                const std::optional<CudaDevice>& gpu);

  // Throws Error(kInvalidArgument) for an id the model does not have.
  void check_tokens(std::span<const int32_t> ids) const;
  // Pages to write positions [begin, end) of a sequence, and the summaries that its policy keeps of
  // them. False when pages run out.
  [[nodiscard]] bool prepare_pages(Sequence::Impl& sequence, int64_t begin, int64_t end);
  // Gives back the pages beyond `length` tokens.
  void truncate(Sequence::Impl& sequence, int64_t length);
  // Throws Error for positions beyond the context or pages that are not to be had.
  void make_room(Sequence::Impl& sequence, int64_t begin, int64_t end);
  // Whether the context and the cache can take one more token.
  [[nodiscard]] bool has_room(Sequence::Impl& sequence);
  void run_prefill_chunk(Sequence::Impl& sequence, std::span<const int32_t> ids,
                         int64_t rope_length);
  void emit_logits(int64_t first_position, int64_t rows, const LogitsCallback& callback);
  // One correction pass (algorithm.md, 2): the uncorrected tokens and `id`, densely.
  void correct(Sequence::Impl& sequence, int32_t id);
  void decode_batch(std::span<Sequence::Impl* const> sequences, std::span<const int32_t> ids);
  void count_step(Sequence::Impl& sequence, double tokens_read) const;
  [[nodiscard]] const text::Tokenizer& require_tokenizer() const;
  [[nodiscard]] const text::ChatFormat& require_chat_format();

  io::ModelFiles files;
  ModelInfo info;
  std::optional<text::Tokenizer> tokenizer;
  std::optional<text::ChatFormat> chat_format;  // parsed when first asked for
  std::unique_ptr<model::KvCache> cache;
  std::unique_ptr<model::Decoder> decoder;
  std::unique_ptr<engine::PendingLogits> pending;
  int prefill_chunk = 0;
  int sampled_vocab = 0;  // ids beyond it are padding rows and never drawn
  std::vector<float> batch_logits;
};

}  // namespace lychee
