#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace lychee::io {

enum class Architecture { kLlama, kMistral, kQwen2, kQwen3 };

[[nodiscard]] std::string_view architecture_name(Architecture architecture);

enum class RopeType { kDefault, kLinear, kDynamic, kLlama3, kYarn };

// How RoPE frequencies are stretched beyond the trained length. Names are those of config.json.
struct RopeScaling {
  RopeType type = RopeType::kDefault;
  double factor = 1;
  int64_t original_context = 0;  // original_max_position_embeddings; 0: the model's context
  double low_freq_factor = 1;    // llama3
  double high_freq_factor = 4;   // llama3
  double beta_fast = 32;         // yarn
  double beta_slow = 1;          // yarn
  std::optional<double> attention_factor;  // yarn: replaces 0.1 ln(factor) + 1
  double mscale = 0;                       // yarn: DeepSeek's variant; 0: unused
  double mscale_all_dim = 0;
  bool truncate = true;  // yarn: round the correction range to whole dimensions
};

// The shape of a decoder, the same for every file format.
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  int num_layers = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_q_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;          // rows of the output matrix; may exceed the tokenizer's
  int64_t context_length = 0;  // max_position_embeddings
  float rms_norm_eps = 1e-5F;
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  // Llama 3.1 as GGUF: frequencies are divided by these, [head_dim / 2]; empty: all 1.
  std::vector<float> rope_freq_factors;
  bool tie_word_embeddings = false;
  bool attention_bias = false;  // q, k, v (Qwen2)
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;       // RMSNorm of every q and k head before RoPE (Qwen3)
  DType dtype = DType::kF16;  // of most weights; decides the default KV dtype
};

// How tensors are named, and laid out, in the file they came from.
enum class TensorNaming {
  kHuggingFace,  // model.layers.0.self_attn.q_proj.weight; rotate-half RoPE
  kGguf,         // blk.0.attn_q.weight; Llama's q and k rows permuted for adjacent-pair RoPE
};

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;  // left out by skip_special
  bool normalized = false;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
};

// One step of text pre-processing before BPE.
struct PreTokenizerStep {
  enum class Kind {
    kSplit,            // by `pattern`, every match a piece, as is what lies between (Isolated)
    kDigits,           // every digit a piece of its own when `individual`, else runs of digits
    kByteLevel,        // GPT-2's byte alphabet; with its regex first when `use_regex`
    kMetaspace,        // spaces become `replacement`, one is put before the text as `prepend` says
    kWhitespaceWords,  // words separated by white space (the built-in model)
  };
  Kind kind = Kind::kSplit;
  std::string pattern;  // a regular expression in the syntax of the file (Oniguruma)
  bool invert = false;
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  Behavior behavior = Behavior::kIsolated;
  bool individual_digits = true;
  bool add_prefix_space = false;  // kByteLevel
  bool use_regex = false;
  enum class Prepend { kNever, kFirst, kAlways };  // kFirst: only at the very start of the text
  Prepend prepend = Prepend::kAlways;              // kMetaspace
  std::string replacement = "\xE2\x96\x81";        // kMetaspace: U+2581
  bool split = false;  // kMetaspace: every replacement begins a new piece
};

// A normaliser step, applied to each segment between added tokens.
struct NormalizerStep {
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kReplace, kPrepend };
  Kind kind = Kind::kNfc;
  std::string pattern;      // kReplace: literal
  std::string replacement;  // kReplace; kPrepend: the text
};

enum class TokenizerKind {
  kByteLevelBpe,      // GPT-2 alphabet, merges by rank
  kSentencePieceBpe,  // Llama 2, Mistral: merges by score (GGUF) or rank, byte fallback
  kWords,             // one id per word; unknown words become `unk_id`
};

// Everything a tokenizer is built from, wherever it was stored. Plain data.
struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kByteLevelBpe;
  std::vector<std::string> tokens;  // by id, as spelt in the file; "" = hole
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  std::vector<float> scores;                                // SentencePiece only, by id
  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  bool ignore_merges = false;  // a piece that is a token is taken whole (Llama 3)
  bool byte_fallback = false;
  bool fuse_unk = false;
  int32_t unk_id = -1;
  std::vector<int32_t> prefix_ids;  // the model's own leading tokens (BOS), added when encoding
  std::vector<int32_t> suffix_ids;
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  int32_t pad_id = -1;
  std::string bos_token, eos_token, pad_token, unk_token;  // as templates see them; may be empty
  // SentencePiece: encoding puts a space before the text (a kPrepend or kMetaspace step), and
  // decoding takes it away.
  bool add_prefix_space = false;
};

// Defaults of generation_config.json, or of the GGUF's own keys.
struct GenerationDefaults {
  std::vector<int32_t> eos_ids;
  std::optional<double> temperature, top_p, repetition_penalty;
  std::optional<int> top_k;
};

// A model as it lies on disk (or in memory, for the built-in one): the same struct for every
// format. Tensor data stays valid as long as `storage` lives.
struct ModelFiles {
  std::string name;  // for people: file or folder name
  std::filesystem::path path;
  ModelConfig config;
  TensorNaming naming = TensorNaming::kHuggingFace;
  std::map<std::string, TensorView, std::less<>> tensors;
  std::optional<TokenizerSpec> tokenizer;  // absent: only token ids work
  std::string chat_template;               // Jinja source; empty: none
  GenerationDefaults generation;
  std::string header_sha256;  // of config.json, or of the GGUF header; hex
  int64_t weight_bytes = 0;
  std::vector<std::shared_ptr<const void>> storage;  // mapped files or memory behind the tensors
};

// Opens a model named as users name it: a GGUF file, a folder, or `builtin:needle[?…]`. Catalogue
// names and `hf:` are resolved to paths first (io/fetch.h). Throws Error(kInvalidArgument) for what
// is missing or malformed, Error(kUnsupported) for a model we do not run, naming it.
[[nodiscard]] ModelFiles open_model(const std::string& model);

// Tokenizer, template and generation defaults of a folder or file; config and weights are neither
// needed nor read.
[[nodiscard]] ModelFiles open_tokenizer(const std::string& model);

}  // namespace lychee::io
