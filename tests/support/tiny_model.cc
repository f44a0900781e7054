#include "support/tiny_model.h"

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "io/json_file.h"
#include "support/random.h"

namespace lychee::test {
namespace {

using io::Architecture;
using io::ModelConfig;

class WeightMaker {
 public:
  WeightMaker(DType dtype, uint32_t seed) : dtype_(dtype), random_(seed) {}

  void matrix(const std::string& name, int64_t rows, int64_t columns) {
    const float scale = 1 / std::sqrt(static_cast<float>(columns));
    tensors_.push_back(
        make_tensor(name, {rows, columns}, random_.normals(rows * columns, scale), dtype_));
  }
  void bias(const std::string& name, int64_t size) {
    tensors_.push_back(make_tensor(name, {size}, random_.normals(size, 0.2F)));
  }
  void norm(const std::string& name, int64_t size) {
    std::vector<float> values = random_.normals(size, 0.1F);
    for (float& value : values) {
      value += 1;
    }
    tensors_.push_back(make_tensor(name, {size}, values));
  }
  std::vector<WriterTensor> take() { return std::move(tensors_); }

 private:
  DType dtype_;
  Random random_;
  std::vector<WriterTensor> tensors_;
};

void add_attention(const ModelConfig& config, const std::string& prefix, WeightMaker& make) {
  const int64_t q_rows = int64_t{config.num_q_heads} * config.head_dim;
  const int64_t kv_rows = int64_t{config.num_kv_heads} * config.head_dim;
  const std::array<std::pair<const char*, int64_t>, 3> inputs = {
      {{"q_proj", q_rows}, {"k_proj", kv_rows}, {"v_proj", kv_rows}}};
  for (const auto& [name, rows] : inputs) {
    make.matrix(prefix + name + ".weight", rows, config.hidden_size);
    if (config.attention_bias) {
      make.bias(prefix + name + ".bias", rows);
    }
  }
  make.matrix(prefix + "o_proj.weight", config.hidden_size, q_rows);
  if (config.attention_output_bias) {
    make.bias(prefix + "o_proj.bias", config.hidden_size);
  }
  if (config.qk_norm) {
    make.norm(prefix + "q_norm.weight", config.head_dim);
    make.norm(prefix + "k_norm.weight", config.head_dim);
  }
}

void add_mlp(const ModelConfig& config, const std::string& prefix, WeightMaker& make) {
  const int64_t inner = config.intermediate_size;
  for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
    const bool down = std::string_view(name) == "down_proj";
    make.matrix(prefix + name + ".weight", down ? config.hidden_size : inner,
                down ? inner : config.hidden_size);
    if (config.mlp_bias) {
      make.bias(prefix + name + ".bias", down ? config.hidden_size : inner);
    }
  }
}

// model.layers.3.self_attn.q_proj.weight -> blk.3.attn_q.weight
std::string gguf_name(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kWords = {{
      {"model.layers.", "blk."},
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
  }};
  std::string result = name;
  for (const auto& [from, to] : kWords) {
    if (const size_t at = result.find(from); at != std::string::npos) {
      result.replace(at, from.size(), to);
    }
  }
  return result;
}

// Within a head of size d, file row 2i + s is checkpoint row s · d/2 + i.
WriterTensor permute_rows(const WriterTensor& tensor, int head_dim) {
  WriterTensor result = tensor;
  const auto rows = static_cast<size_t>(tensor.shape[0]);
  const size_t row_bytes = tensor.data.size() / rows;
  const auto size = static_cast<size_t>(head_dim);
  for (size_t row = 0; row < rows; ++row) {
    const size_t head = row / size;
    const size_t in_head = row % size;
    const size_t source = head * size + (in_head % 2) * (size / 2) + in_head / 2;
    std::memcpy(result.data.data() + row * row_bytes, tensor.data.data() + source * row_bytes,
                row_bytes);
  }
  return result;
}

bool is_rotated(const std::string& name) {
  return name.find("q_proj") != std::string::npos || name.find("k_proj") != std::string::npos;
}

std::string rope_type_name(io::RopeType type) {
  constexpr std::array<const char*, 5> kNames = {"default", "linear", "dynamic", "llama3", "yarn"};
  return kNames.at(static_cast<size_t>(type));
}

nlohmann::json rope_json(const io::RopeScaling& scaling) {
  nlohmann::json json = {{"rope_type", rope_type_name(scaling.type)}, {"factor", scaling.factor}};
  if (scaling.original_context > 0) {
    json["original_max_position_embeddings"] = scaling.original_context;
  }
  if (scaling.type == io::RopeType::kLlama3) {
    json["low_freq_factor"] = scaling.low_freq_factor;
    json["high_freq_factor"] = scaling.high_freq_factor;
  }
  if (scaling.type == io::RopeType::kYarn) {
    json["beta_fast"] = scaling.beta_fast;
    json["beta_slow"] = scaling.beta_slow;
    if (scaling.attention_factor) {
      json["attention_factor"] = *scaling.attention_factor;
    }
  }
  return json;
}

void add_gguf_rope(const ModelConfig& config, const std::string& prefix, GgufWriter& writer) {
  writer.f32(prefix + "rope.freq_base", static_cast<float>(config.rope_theta));
  const io::RopeScaling& scaling = config.rope_scaling;
  if (scaling.type == io::RopeType::kLinear || scaling.type == io::RopeType::kYarn) {
    writer.string(prefix + "rope.scaling.type", rope_type_name(scaling.type));
    writer.f32(prefix + "rope.scaling.factor", static_cast<float>(scaling.factor));
    if (scaling.original_context > 0) {
      writer.u32(prefix + "rope.scaling.original_context_length",
                 static_cast<uint32_t>(scaling.original_context));
    }
  }
  if (!config.rope_freq_factors.empty()) {
    writer.tensor(make_tensor("rope_freqs.weight",
                              {static_cast<int64_t>(config.rope_freq_factors.size())},
                              config.rope_freq_factors));
  }
}

}  // namespace

ModelConfig tiny_config(Architecture architecture) {
  ModelConfig config;
  config.architecture = architecture;
  config.num_layers = 3;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_q_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 96;
  config.context_length = 256;
  config.attention_bias = architecture == Architecture::kQwen2;
  config.qk_norm = architecture == Architecture::kQwen3;
  config.dtype = DType::kF32;
  return config;
}

std::vector<WriterTensor> tiny_weights(const ModelConfig& config, DType dtype, uint32_t seed) {
  WeightMaker make(dtype, seed);
  make.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    make.norm(prefix + "input_layernorm.weight", config.hidden_size);
    add_attention(config, prefix + "self_attn.", make);
    make.norm(prefix + "post_attention_layernorm.weight", config.hidden_size);
    add_mlp(config, prefix + "mlp.", make);
  }
  make.norm("model.norm.weight", config.hidden_size);
  if (!config.tie_word_embeddings) {
    make.matrix("lm_head.weight", config.vocab_size, config.hidden_size);
  }
  return make.take();
}

io::ModelFiles tiny_model_files(const ModelConfig& config,
                                const std::vector<WriterTensor>& weights) {
  io::ModelFiles files;
  files.name = "tiny";
  files.config = config;
  files.naming = io::TensorNaming::kHuggingFace;
  const auto owned = std::make_shared<const std::vector<WriterTensor>>(weights);
  for (const WriterTensor& tensor : *owned) {
    files.tensors.emplace(tensor.name, tensor.view());
    files.weight_bytes += static_cast<int64_t>(tensor.data.size());
  }
  files.storage.push_back(owned);
  return files;
}

std::string hf_config_text(const ModelConfig& config) {
  const std::string name(io::architecture_name(config.architecture));
  constexpr std::array<const char*, 4> kClasses = {"LlamaForCausalLM", "MistralForCausalLM",
                                                   "Qwen2ForCausalLM", "Qwen3ForCausalLM"};
  nlohmann::json json = {
      {"architectures", {kClasses.at(static_cast<size_t>(config.architecture))}},
      {"model_type", name},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_layers},
      {"num_attention_heads", config.num_q_heads},
      {"num_key_value_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"hidden_act", "silu"},
      {"rms_norm_eps", config.rms_norm_eps},
      {"vocab_size", config.vocab_size},
      {"max_position_embeddings", config.context_length},
      {"rope_theta", config.rope_theta},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"attention_bias", config.attention_output_bias},
      {"mlp_bias", config.mlp_bias},
      {"eos_token_id", 2},
      {"torch_dtype", "float32"},
  };
  if (config.rope_scaling.type != io::RopeType::kDefault) {
    json["rope_scaling"] = rope_json(config.rope_scaling);
  }
  return json.dump(2);
}

void write_hf_folder(const std::filesystem::path& folder, const ModelConfig& config,
                     const std::vector<WriterTensor>& weights) {
  std::filesystem::create_directories(folder);
  write_text(folder / "config.json", hf_config_text(config));
  write_bytes(folder / "model.safetensors", encode_safetensors(weights));
}

GgufWriter gguf_header(const ModelConfig& config) {
  const std::string name = config.architecture == Architecture::kMistral
                               ? "llama"
                               : std::string(io::architecture_name(config.architecture));
  const std::string prefix = name + ".";
  GgufWriter writer;
  writer.string("general.architecture", name);
  const auto size = [&](const char* key, int64_t value) {
    writer.u32(prefix + key, static_cast<uint32_t>(value));
  };
  size("block_count", config.num_layers);
  size("context_length", config.context_length);
  size("embedding_length", config.hidden_size);
  size("feed_forward_length", config.intermediate_size);
  size("attention.head_count", config.num_q_heads);
  size("attention.head_count_kv", config.num_kv_heads);
  size("attention.key_length", config.head_dim);
  size("attention.value_length", config.head_dim);
  writer.f32(prefix + "attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  add_gguf_rope(config, prefix, writer);
  return writer;
}

void write_gguf_file(const std::filesystem::path& path, const ModelConfig& config,
                     const std::vector<WriterTensor>& weights) {
  const bool permuted =
      config.architecture == Architecture::kLlama || config.architecture == Architecture::kMistral;
  GgufWriter writer = gguf_header(config);
  for (const WriterTensor& tensor : weights) {
    WriterTensor copy =
        permuted && is_rotated(tensor.name) ? permute_rows(tensor, config.head_dim) : tensor;
    copy.name = gguf_name(tensor.name);
    writer.tensor(std::move(copy));
  }
  write_bytes(path, writer.encode());
}

}  // namespace lychee::test
