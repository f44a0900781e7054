#include "io/huggingface/hf_config.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"

namespace lychee::io {
namespace {

constexpr int64_t kMaxSize = int64_t{1}
                             << 24;  // of a dimension; the largest models stay below 2^18
constexpr int64_t kMaxContext = int64_t{1} << 40;
constexpr std::string_view kSupported =
    "; supported are LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM";

struct KnownArchitecture {
  std::string_view class_name;
  std::string_view model_type;
  Architecture architecture;
};

constexpr std::array<KnownArchitecture, 4> kArchitectures = {{
    {"LlamaForCausalLM", "llama", Architecture::kLlama},
    {"MistralForCausalLM", "mistral", Architecture::kMistral},
    {"Qwen2ForCausalLM", "qwen2", Architecture::kQwen2},
    {"Qwen3ForCausalLM", "qwen3", Architecture::kQwen3},
}};

// The class in `architectures`, else `model_type`.
Architecture read_architecture(const JsonObject& config) {
  std::string name;
  if (const nlohmann::json* classes = config.find("architectures");
      classes != nullptr && classes->is_array() && !classes->empty()) {
    require(classes->front().is_string(), ErrorCode::kInvalidArgument, config.file_name(),
            ": architectures does not hold strings");
    name = classes->front().get<std::string>();
  } else {
    name = config.required_string("model_type");
  }
  for (const KnownArchitecture& known : kArchitectures) {
    if (name == known.class_name || name == known.model_type) {
      return known.architecture;
    }
  }
  fail(ErrorCode::kUnsupported, config.file_name(), ": architecture ", name, " is not supported",
       kSupported);
}

void refuse_experts(const JsonObject& config) {
  for (const std::string_view key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    const int64_t experts = config.integer(key).value_or(0);
    require(experts <= 1, ErrorCode::kUnsupported, config.file_name(), ": ", key, " is ", experts,
            "; mixture-of-experts models are not supported");
  }
}

void refuse_sliding_window(const JsonObject& config, const ModelConfig& result) {
  const int64_t window = config.integer("sliding_window").value_or(0);
  const bool is_mistral = result.architecture == Architecture::kMistral;
  // Mistral slides whenever a window is set; the others only when told to, whatever the window
  // says.
  const bool used = config.boolean("use_sliding_window").value_or(is_mistral) && window > 0 &&
                    window < result.context_length && result.architecture != Architecture::kLlama;
  require(!used, ErrorCode::kUnsupported, config.file_name(), ": sliding_window is ", window,
          " of a context of ", result.context_length,
          "; models with sliding-window attention are not supported");
  const nlohmann::json* layers = config.find("layer_types");
  if (layers == nullptr || !layers->is_array()) {
    return;
  }
  for (const nlohmann::json& layer : *layers) {
    const bool full = layer.is_string() && layer.get_ref<const std::string&>() == "full_attention";
    // A window that covers the whole context is full attention by another name.
    require(full || (window > 0 && window >= result.context_length), ErrorCode::kUnsupported,
            config.file_name(), ": layer_types holds ", layer.dump(),
            "; only full_attention is supported (no sliding window)");
  }
}

void refuse_quantization(const JsonObject& config) {
  if (const std::optional<JsonObject> quantization = config.object("quantization_config")) {
    fail(ErrorCode::kUnsupported, config.file_name(), ": quantization_config (",
         quantization->string("quant_method").value_or("unnamed method"),
         ") is not supported; use the unquantised model or a GGUF file");
  }
}

void refuse_variants(const JsonObject& config) {
  refuse_experts(config);
  refuse_quantization(config);
  const std::string activation = config.string("hidden_act").value_or("silu");
  require(activation == "silu" || activation == "swish", ErrorCode::kUnsupported,
          config.file_name(), ": hidden_act ", activation, " is not supported, only silu");
  const double rotary = config.number("partial_rotary_factor").value_or(1);
  require(rotary == 1, ErrorCode::kUnsupported, config.file_name(), ": partial_rotary_factor ",
          rotary, " is not supported, only 1");
}

int read_size(const JsonObject& config, std::string_view key) {
  return static_cast<int>(config.required_integer(key, 1, kMaxSize));
}

void read_heads(const JsonObject& config, ModelConfig& result) {
  result.num_q_heads = read_size(config, "num_attention_heads");
  result.num_kv_heads = config.contains("num_key_value_heads")
                            ? read_size(config, "num_key_value_heads")
                            : result.num_q_heads;
  if (config.contains("head_dim")) {
    result.head_dim = read_size(config, "head_dim");
    return;
  }
  // transformers' default for Qwen3 does not follow hidden_size.
  constexpr int kQwen3HeadDim = 128;
  if (result.architecture == Architecture::kQwen3) {
    result.head_dim = kQwen3HeadDim;
    return;
  }
  require(result.hidden_size % result.num_q_heads == 0, ErrorCode::kInvalidArgument,
          config.file_name(), ": hidden_size ", result.hidden_size,
          " is not a multiple of num_attention_heads ", result.num_q_heads,
          " and head_dim is missing");
  result.head_dim = result.hidden_size / result.num_q_heads;
}

void read_biases(const JsonObject& config, ModelConfig& result) {
  const bool qwen2 = result.architecture == Architecture::kQwen2;
  const bool configurable =
      result.architecture == Architecture::kLlama || result.architecture == Architecture::kQwen3;
  const bool bias = configurable && config.boolean("attention_bias").value_or(false);
  result.attention_bias = qwen2 || bias;
  result.attention_output_bias = bias;
  result.mlp_bias =
      result.architecture == Architecture::kLlama && config.boolean("mlp_bias").value_or(false);
  result.qk_norm = result.architecture == Architecture::kQwen3;
}

DType read_dtype(const JsonObject& config) {
  const std::string name = config.contains("dtype") ? config.string("dtype").value_or("")
                                                    : config.string("torch_dtype").value_or("");
  if (name.ends_with("bfloat16")) {
    return DType::kBF16;
  }
  return name.ends_with("float32") ? DType::kF32 : DType::kF16;
}

}  // namespace

ModelConfig read_hf_config(const JsonObject& config) {
  ModelConfig result;
  result.architecture = read_architecture(config);
  refuse_variants(config);
  result.num_layers = read_size(config, "num_hidden_layers");
  result.hidden_size = read_size(config, "hidden_size");
  result.intermediate_size = read_size(config, "intermediate_size");
  result.vocab_size = read_size(config, "vocab_size");
  result.context_length = config.required_integer("max_position_embeddings", 1, kMaxContext);
  read_heads(config, result);
  refuse_sliding_window(config, result);
  result.rms_norm_eps = static_cast<float>(config.number("rms_norm_eps").value_or(1e-6));
  result.tie_word_embeddings = config.boolean("tie_word_embeddings").value_or(false);
  result.dtype = read_dtype(config);
  read_biases(config, result);
  read_hf_rope(config, result);
  check_model_config(result, config.file_name());
  return result;
}

std::vector<int32_t> read_eos_ids(const JsonObject& object) {
  constexpr std::string_view kKey = "eos_token_id";
  const nlohmann::json* value = object.find(kKey);
  if (value == nullptr) {
    return {};
  }
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : list) {
    require(id.is_number_unsigned() && id.get<uint64_t>() <= static_cast<uint64_t>(INT32_MAX),
            ErrorCode::kInvalidArgument, object.file_name(), ": ", kKey,
            " is neither a token id nor a list of them");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::string_view architecture_name(Architecture architecture) {
  for (const KnownArchitecture& known : kArchitectures) {
    if (known.architecture == architecture) {
      return known.model_type;
    }
  }
  fail(ErrorCode::kInternal, "architecture ", static_cast<int>(architecture), " has no name");
}

void check_model_config(const ModelConfig& config, const std::string& file_name) {
  const auto check_size = [&](std::string_view name, int64_t value) {
    require(value >= 1 && value <= kMaxSize, ErrorCode::kInvalidArgument, file_name, ": ", name,
            " is ", value, ", not between 1 and ", kMaxSize);
  };
  check_size("number of layers", config.num_layers);
  check_size("hidden size", config.hidden_size);
  check_size("feed-forward size", config.intermediate_size);
  check_size("vocabulary size", config.vocab_size);
  check_size("number of query heads", config.num_q_heads);
  check_size("number of KV heads", config.num_kv_heads);
  check_size("query heads times head_dim", int64_t{config.num_q_heads} * config.head_dim);
  require(config.context_length >= 1 && config.context_length <= kMaxContext,
          ErrorCode::kInvalidArgument, file_name, ": context length is ", config.context_length,
          ", not between 1 and ", kMaxContext);
  require(config.num_q_heads % config.num_kv_heads == 0, ErrorCode::kInvalidArgument, file_name,
          ": ", config.num_q_heads, " query heads are not a multiple of ", config.num_kv_heads,
          " KV heads");
  require(config.head_dim % 2 == 0, ErrorCode::kInvalidArgument, file_name, ": head_dim ",
          config.head_dim, " is odd; RoPE needs pairs");
  require(config.rms_norm_eps > 0 && config.rms_norm_eps < 1, ErrorCode::kInvalidArgument,
          file_name, ": RMSNorm epsilon ", config.rms_norm_eps, " is not between 0 and 1");
  require(config.rope_theta > 0, ErrorCode::kInvalidArgument, file_name, ": RoPE base ",
          config.rope_theta, " is not positive");
}

}  // namespace lychee::io
