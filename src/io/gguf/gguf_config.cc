#include "io/gguf/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "io/huggingface/hf_config.h"

namespace lychee::io {
namespace {

// The keys of one architecture: `llama.block_count` and so on.
class ArchitectureKeys {
 public:
  ArchitectureKeys(const GgufMetadata& metadata, const std::string& architecture)
      : metadata_(metadata), prefix_(architecture + ".") {}

  [[nodiscard]] std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  [[nodiscard]] std::optional<int64_t> integer(std::string_view name) const {
    return metadata_.integer(key(name));
  }
  [[nodiscard]] std::optional<double> number(std::string_view name) const {
    return metadata_.number(key(name));
  }
  [[nodiscard]] const std::string& file_name() const { return metadata_.file_name(); }
  [[nodiscard]] const GgufMetadata& metadata() const { return metadata_; }

  [[nodiscard]] int size(std::string_view name) const {
    return narrow(name, metadata_.required_integer(key(name)));
  }
  // A size that some writers give once per layer; layers that differ are another architecture.
  [[nodiscard]] int uniform_size(std::string_view name) const;

 private:
  [[nodiscard]] int narrow(std::string_view name, int64_t value) const {
    require(value >= 0 && value <= INT32_MAX, ErrorCode::kInvalidArgument, file_name(), ": ",
            key(name), " is ", value, ", not between 0 and ", INT32_MAX);
    return static_cast<int>(value);
  }

  const GgufMetadata& metadata_;
  std::string prefix_;
};

int ArchitectureKeys::uniform_size(std::string_view name) const {
  if (!metadata_.is_array(key(name))) {
    return size(name);
  }
  const std::vector<int64_t>& values = *metadata_.integers(key(name));
  require(!values.empty(), ErrorCode::kInvalidArgument, file_name(), ": ", key(name), " is empty");
  const bool uniform = std::ranges::all_of(values, [&](int64_t v) { return v == values.front(); });
  require(uniform, ErrorCode::kUnsupported, file_name(), ": ", key(name),
          " differs between layers; only layers of one shape are supported");
  return narrow(name, values.front());
}

Architecture read_architecture(const GgufMetadata& metadata) {
  const std::string& name = metadata.required_string("general.architecture");
  constexpr std::array<std::pair<std::string_view, Architecture>, 3> kArchitectures = {{
      {"llama", Architecture::kLlama},  // Mistral's files bear this name too
      {"qwen2", Architecture::kQwen2},
      {"qwen3", Architecture::kQwen3},
  }};
  for (const auto& [known, architecture] : kArchitectures) {
    if (known == name) {
      return architecture;
    }
  }
  fail(ErrorCode::kUnsupported, metadata.file_name(), ": architecture ", name,
       " is not supported; supported are llama, qwen2 and qwen3");
}

void refuse_variants(const ArchitectureKeys& keys, const ModelConfig& config) {
  const int64_t parts = keys.metadata().integer("split.count").value_or(1);
  require(parts <= 1, ErrorCode::kUnsupported, keys.file_name(), ": one of ", parts,
          " parts of a split file; join them first (llama-gguf-split --merge)");
  const int64_t experts = keys.integer("expert_count").value_or(0);
  require(experts <= 1, ErrorCode::kUnsupported, keys.file_name(), ": ", keys.key("expert_count"),
          " is ", experts, "; mixture-of-experts models are not supported");
  const int64_t window = keys.integer("attention.sliding_window").value_or(0);
  require(window <= 0 || window >= config.context_length, ErrorCode::kUnsupported, keys.file_name(),
          ": ", keys.key("attention.sliding_window"), " is ", window, " of a context of ",
          config.context_length, "; models with sliding-window attention are not supported");
}

void read_heads(const ArchitectureKeys& keys, ModelConfig& config) {
  config.num_q_heads = keys.uniform_size("attention.head_count");
  config.num_kv_heads = keys.metadata().contains(keys.key("attention.head_count_kv"))
                            ? keys.uniform_size("attention.head_count_kv")
                            : config.num_q_heads;
  require(config.num_q_heads > 0 && config.num_kv_heads > 0, ErrorCode::kInvalidArgument,
          keys.file_name(), ": ", config.num_q_heads, " query heads and ", config.num_kv_heads,
          " KV heads: both must be at least 1");
  const auto read_length = [&](std::string_view name) {
    return keys.metadata().contains(keys.key(name)) ? keys.size(name)
                                                    : config.hidden_size / config.num_q_heads;
  };
  config.head_dim = read_length("attention.key_length");
  const int value_dim = read_length("attention.value_length");
  require(value_dim == config.head_dim, ErrorCode::kUnsupported, keys.file_name(), ": keys of ",
          config.head_dim, " and values of ", value_dim,
          " dimensions; only equal ones are supported");
  const int64_t rotary = keys.integer("rope.dimension_count").value_or(config.head_dim);
  require(rotary == config.head_dim, ErrorCode::kUnsupported, keys.file_name(), ": RoPE over ",
          rotary, " of ", config.head_dim, " dimensions; only all of them is supported");
}

void read_yarn(const ArchitectureKeys& keys, RopeScaling& scaling) {
  const double extension = keys.number("rope.scaling.yarn_ext_factor").value_or(1);
  require(extension == 1, ErrorCode::kUnsupported, keys.file_name(), ": ",
          keys.key("rope.scaling.yarn_ext_factor"), " is ", extension, "; only 1 is supported");
  scaling.beta_fast = keys.number("rope.scaling.yarn_beta_fast").value_or(scaling.beta_fast);
  scaling.beta_slow = keys.number("rope.scaling.yarn_beta_slow").value_or(scaling.beta_slow);
  // llama.cpp's factor multiplies the usual 0.1 ln(factor) + 1; ours replaces it.
  for (const std::string_view name :
       {"rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor"}) {
    if (const std::optional<double> factor = keys.number(name); factor && *factor != 1) {
      scaling.attention_factor = *factor * (0.1 * std::log(scaling.factor) + 1);
    }
  }
}

void read_rope_scaling(const ArchitectureKeys& keys, ModelConfig& config) {
  RopeScaling& scaling = config.rope_scaling;
  const double factor =
      keys.number("rope.scaling.factor").value_or(keys.number("rope.scale_linear").value_or(1));
  const std::string* type = keys.metadata().string(keys.key("rope.scaling.type"));
  const std::string name = type != nullptr ? *type : "linear";
  require(name == "none" || name == "linear" || name == "yarn", ErrorCode::kUnsupported,
          keys.file_name(), ": RoPE scaling ", name,
          " is not supported; supported are none, linear and yarn");
  // 0 means «not set» to llama.cpp.
  if (name == "none" || factor == 0 || factor == 1) {
    return;
  }
  require(std::isfinite(factor) && factor > 1, ErrorCode::kInvalidArgument, keys.file_name(), ": ",
          keys.key("rope.scaling.factor"), " is ", factor, ", below 1");
  scaling.factor = factor;
  scaling.type = name == "yarn" ? RopeType::kYarn : RopeType::kLinear;
  scaling.original_context = keys.integer("rope.scaling.original_context_length").value_or(0);
  require(scaling.original_context >= 0, ErrorCode::kInvalidArgument, keys.file_name(), ": ",
          keys.key("rope.scaling.original_context_length"), " is ", scaling.original_context);
  if (scaling.type == RopeType::kYarn) {
    read_yarn(keys, scaling);
  }
}

void read_rope_factors(const TensorMap& tensors, const std::string& file_name,
                       ModelConfig& config) {
  const auto found = tensors.find("rope_freqs.weight");
  if (found == tensors.end()) {
    return;
  }
  const TensorView& view = found->second;
  require(view.dtype == DType::kF32 && view.count() == config.head_dim / 2,
          ErrorCode::kInvalidArgument, file_name, ": rope_freqs.weight is not F32 of ",
          config.head_dim / 2, " values");
  config.rope_freq_factors.resize(static_cast<size_t>(view.count()));
  std::memcpy(config.rope_freq_factors.data(), view.data, static_cast<size_t>(view.bytes()));
  const bool positive = std::ranges::all_of(config.rope_freq_factors,
                                            [](float f) { return std::isfinite(f) && f > 0; });
  require(positive, ErrorCode::kInvalidArgument, file_name,
          ": rope_freqs.weight holds a value that is not above 0");
}

int read_vocab_size(const ArchitectureKeys& keys, const TensorMap& tensors) {
  const auto embedding = tensors.find("token_embd.weight");
  if (embedding != tensors.end() && embedding->second.shape.size() == 2) {
    return static_cast<int>(std::min<int64_t>(embedding->second.shape[0], INT32_MAX));
  }
  if (keys.metadata().contains(keys.key("vocab_size"))) {
    return keys.size("vocab_size");
  }
  const std::vector<std::string>* tokens = keys.metadata().strings("tokenizer.ggml.tokens");
  require(tokens != nullptr, ErrorCode::kInvalidArgument, keys.file_name(),
          ": the vocabulary size is nowhere to be found");
  return static_cast<int>(std::min<size_t>(tokens->size(), INT32_MAX));
}

// Texts of the control tokens that end a turn or a document. Files name only one of them as
// eos_token_id, but the models use several (Llama 3.1: <|eot_id|> and <|eom_id|>).
bool ends_answer(std::string_view text) {
  constexpr std::array<std::string_view, 6> kTexts = {
      "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "</s>"};
  return std::ranges::find(kTexts, text) != kTexts.end();
}

void add_id(int64_t id, std::vector<int32_t>& ids) {
  if (id >= 0 && id <= INT32_MAX && std::ranges::find(ids, static_cast<int32_t>(id)) == ids.end()) {
    ids.push_back(static_cast<int32_t>(id));
  }
}

}  // namespace

ModelConfig read_gguf_config(const GgufMetadata& metadata, const TensorMap& tensors) {
  ModelConfig config;
  config.architecture = read_architecture(metadata);
  const ArchitectureKeys keys(metadata, metadata.required_string("general.architecture"));
  config.num_layers = keys.size("block_count");
  config.hidden_size = keys.size("embedding_length");
  config.intermediate_size = keys.uniform_size("feed_forward_length");
  config.context_length = metadata.required_integer(keys.key("context_length"));
  refuse_variants(keys, config);
  read_heads(keys, config);
  config.rms_norm_eps =
      static_cast<float>(metadata.required_number(keys.key("attention.layer_norm_rms_epsilon")));
  config.rope_theta = keys.number("rope.freq_base").value_or(config.rope_theta);
  read_rope_scaling(keys, config);
  config.vocab_size = read_vocab_size(keys, tensors);
  config.tie_word_embeddings = !tensors.contains("output.weight");
  config.attention_bias = tensors.contains("blk.0.attn_q.bias");
  config.attention_output_bias = tensors.contains("blk.0.attn_output.bias");
  config.mlp_bias = tensors.contains("blk.0.ffn_gate.bias");
  config.qk_norm = config.architecture == Architecture::kQwen3;
  check_model_config(config, metadata.file_name());
  read_rope_factors(tensors, metadata.file_name(), config);
  return config;
}

GenerationDefaults read_gguf_generation(const GgufMetadata& metadata) {
  GenerationDefaults defaults;
  for (const std::string_view key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                     "tokenizer.ggml.eom_token_id"}) {
    add_id(metadata.integer(key).value_or(-1), defaults.eos_ids);
  }
  const std::vector<std::string>* tokens = metadata.strings("tokenizer.ggml.tokens");
  const std::vector<int64_t>* types = metadata.integers("tokenizer.ggml.token_type");
  constexpr int64_t kControl = 3;
  for (size_t id = 0; tokens != nullptr && types != nullptr && id < tokens->size(); ++id) {
    if (id < types->size() && (*types)[id] == kControl && ends_answer((*tokens)[id])) {
      add_id(static_cast<int64_t>(id), defaults.eos_ids);
    }
  }
  defaults.temperature = metadata.number("general.sampling.temp");
  defaults.top_p = metadata.number("general.sampling.top_p");
  defaults.repetition_penalty = metadata.number("general.sampling.penalty_repeat");
  if (const std::optional<int64_t> top_k = metadata.integer("general.sampling.top_k")) {
    defaults.top_k = static_cast<int>(std::clamp<int64_t>(*top_k, 0, INT32_MAX));
  }
  return defaults;
}

}  // namespace lychee::io
