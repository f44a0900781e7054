#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lychee/generation.h"
#include "lychee/head_plan.h"

namespace lychee {

enum class Device : uint8_t { kAuto, kCpu, kCuda };
enum class KvDtype : uint8_t { kAuto, kF32, kF16, kBF16, kFP8 };  // kFP8: CUDA alone

// What the matrices of a model are rounded to when it is loaded.
enum class WeightFormat : uint8_t { kFile, kBF16, kFP8, kInt8, kInt4 };

[[nodiscard]] std::string_view weight_format_name(WeightFormat format);
[[nodiscard]] std::optional<WeightFormat> parse_weight_format(std::string_view name);

// What an engine takes of its device's memory, known before anything is loaded.
struct MemoryPlan {
  int64_t weight_bytes = 0;
  int64_t workspace_bytes = 0;  // activations and scratch
  int64_t cache_tokens = 0;
  int64_t cache_bytes_per_token = 0;
  int64_t available_bytes = 0;  // before loading; 0: the system cannot tell

  [[nodiscard]] int64_t cache_bytes() const { return cache_tokens * cache_bytes_per_token; }
  [[nodiscard]] int64_t total_bytes() const {
    return weight_bytes + workspace_bytes + cache_bytes();
  }
};

struct EngineOptions {
  std::string model;  // GGUF file, folder, builtin:needle[?…] or shape:NAME
  Device device = Device::kAuto;
  KvDtype kv_dtype = KvDtype::kAuto;  // f16; bf16 for BF16 models, f32 for F32 ones
  WeightFormat weights = WeightFormat::kFile;
  bool exact = false;            // f32 arithmetic throughout, for parity tests
  int threads = 0;               // compute threads; 0: all cores
  int64_t max_cache_tokens = 0;  // KV capacity over all sequences; 0: what memory allows
  int max_sequences = 0;         // of the model's context, that the cache need hold; 0: any number
  int prefill_chunk = 0;         // prompt tokens per pass; 0: 512, on CUDA 4096
  bool load_tokenizer = true;    // false: token ids alone
  std::function<void(const MemoryPlan&)> on_memory_plan = {};  // called before loading
};

struct ModelInfo {
  std::string name;
  std::string architecture;
  int num_layers = 0;
  int hidden_size = 0;
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int64_t context_length = 0;
  int64_t weight_bytes = 0;
  int64_t weight_bytes_per_step = 0;  // that a decode step reads
  int64_t layer_parameters = 0;       // in the matrices of all layers
  std::string weights;                // "file", or what they were rounded to
  MemoryPlan memory;
  std::string kv_dtype;  // effective
  std::string device;    // effective: "cpu" or "cuda"
  std::string gpu;       // its name; empty on the CPU
  std::string header_sha256;
  int threads = 0;
  std::vector<int32_t> eos_ids;
  bool has_tokenizer = false;
  bool has_chat_template = false;

  [[nodiscard]] HeadPlanShape plan_shape() const {
    return {num_layers, num_q_heads, num_kv_heads, head_dim};
  }
};

class Engine;

// One sequence: its tokens, its pages of the KV cache, its options. Move-only; gives its pages back
// when it ends, and must not outlive its engine.
class Sequence {
 public:
  ~Sequence();
  Sequence(Sequence&&) noexcept;
  Sequence& operator=(Sequence&&) noexcept;

  [[nodiscard]] int64_t length() const;  // tokens in the cache
  [[nodiscard]] std::span<const int32_t> token_ids() const;
  [[nodiscard]] const GenerationOptions& options() const;
  [[nodiscard]] const DecodeStats& stats() const;
  // Logits that predict the token after the last one fed, [vocab_size]; empty before the first.
  // Valid until the sequence is fed again.
  [[nodiscard]] std::span<const float> logits() const;
  // Natural logarithm of the probability of `id` under logits().
  [[nodiscard]] double log_prob(int32_t id) const;
  // The `count` most likely ids with their log-probabilities, best first, equal ones to the lower
  // id.
  [[nodiscard]] std::vector<std::pair<int32_t, double>> top_log_probs(int count) const;

 private:
  friend class Engine;
  struct Impl;
  explicit Sequence(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Sees the logits that every prompt token gives, in order: `position` is the token's own.
using LogitsCallback = std::function<void(int64_t position, std::span<const float> logits)>;

// Loads one model and decodes sequences with it. Not thread-safe: one thread drives it.
class Engine {
 public:
  // Throws Error: kInvalidArgument or kUnsupported for the model, kOutOfMemory with the numbers of
  // the memory plan when the weights, or the cache that was asked for, cannot fit.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;

  [[nodiscard]] const ModelInfo& model() const;
  // Tokens that the cache can hold, over all sequences.
  [[nodiscard]] int64_t cache_capacity() const;
  [[nodiscard]] int64_t cache_bytes_per_token() const;
  [[nodiscard]] int64_t cache_tokens_in_use() const;

  // Text in and out. Throw Error(kUnsupported) when the model has no tokenizer or no template.
  [[nodiscard]] std::vector<int32_t> encode(std::string_view text) const;
  [[nodiscard]] std::string decode_text(std::span<const int32_t> ids, bool skip_special) const;
  // Chat messages (role, content) rendered with the model's template, generation prompt included.
  [[nodiscard]] std::string render_chat(
      std::span<const std::pair<std::string, std::string>> messages) const;
  // As encode, for text that a chat template made: no second BOS.
  [[nodiscard]] std::vector<int32_t> encode_chat(
      std::span<const std::pair<std::string, std::string>> messages) const;

  // Throws Error(kInvalidArgument) when the options contradict the model or themselves: a plan of
  // another shape, a missing or needless plan, a budget below sink + recent.
  [[nodiscard]] Sequence create_sequence(const GenerationOptions& options);
  // A copy that shares the pages; either side copies a page before it writes to it. With `options`
  // it goes on under another policy. Statistics start anew.
  [[nodiscard]] Sequence fork(const Sequence& sequence);
  [[nodiscard]] Sequence fork(const Sequence& sequence, const GenerationOptions& options);

  // Feeds prompt tokens, densely in every head. Returns false when `progress` stopped it; the
  // tokens done by then stay. Throws Error(kInvalidArgument) beyond the model's context or for an
  // id outside the vocabulary, Error(kOutOfMemory) beyond the cache; the sequence is unchanged
  // then.
  bool prefill(Sequence& sequence, std::span<const int32_t> token_ids,
               const ProgressCallback& progress = {}, const LogitsCallback& logits = {});
  // Feeds one generated token to each sequence, each under its own policy, in one batch.
  // Throws as prefill does; all sequences are unchanged then.
  void decode(std::span<Sequence* const> sequences, std::span<const int32_t> token_ids);
  void decode(Sequence& sequence, int32_t token_id);
  // Drops the tokens at and after `length`, as if they had not been fed. logits() is empty then.
  void truncate(Sequence& sequence, int64_t length);
  // For measuring: makes the sequence `length` tokens long without computing. The new tokens get
  // random ids and, in all layers, K and V drawn close to a standard normal distribution, the same
  // for the same seed. logits() is empty then. Throws as prefill does, and Error(kInvalidArgument)
  // when the sequence is longer already.
  void fill_cache_with_noise(Sequence& sequence, int64_t length, uint64_t seed);

  // For measuring: returns when the device has done all that was asked of it. prefill and decode
  // may return before; what reads their results waits by itself.
  void wait();

  // Draws the next token from the sequence's logits by its options. Ids beyond the tokenizer's
  // vocabulary (padding rows) are never drawn.
  [[nodiscard]] int32_t sample(Sequence& sequence);
  [[nodiscard]] bool is_end_token(const Sequence& sequence, int32_t token_id) const;

  // Decodes until an end token, a stop string or max_tokens. The sequence must have logits. The
  // last token that was sampled is not fed.
  GenerationResult generate(Sequence& sequence, const TextCallback& on_text = {});
  // Prefills `prompt` into a new sequence and generates.
  GenerationResult generate(std::string_view prompt, const GenerationOptions& options,
                            const TextCallback& on_text = {},
                            const ProgressCallback& progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee
