#include "support/tiny_models.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/check.h"
#include "support/random.h"

namespace lychee::test {

namespace {

using io::Architecture;

constexpr const char* kLlama3Rope =
    R"({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64})";
constexpr const char* kYarnRope =
    R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64})";
constexpr const char* kDynamicRope = R"({"rope_type": "dynamic", "factor": 8.0})";

constexpr std::array<TinyModel, 6> kModels = {{
    {"llama", Architecture::kLlama, 5, 4, 2, 8, 32},
    {"llama_dynamic", Architecture::kLlama, 4, 6, 2, 8, 36, kDynamicRope, 128},
    {"mistral", Architecture::kMistral, 4, 4, 4, 16, 32, kLlama3Rope},
    {"qwen2", Architecture::kQwen2, 6, 8, 2, 8, 64},
    {"qwen3", Architecture::kQwen3, 6, 6, 3, 24, 36},
    {"qwen3_yarn", Architecture::kQwen3, 3, 5, 1, 16, 40, kYarnRope},
}};

constexpr int kFeedForward = 40;

struct Names {
  const char* model_type;
  const char* class_name;
};

Names names_of(Architecture architecture) {
  switch (architecture) {
    case Architecture::kMistral:
      return {"mistral", "MistralForCausalLM"};
    case Architecture::kQwen2:
      return {"qwen2", "Qwen2ForCausalLM"};
    case Architecture::kQwen3:
      return {"qwen3", "Qwen3ForCausalLM"};
    case Architecture::kLlama:
      break;
  }
  return {"llama", "LlamaForCausalLM"};
}

std::string config_json(const TinyModel& model) {
  const Names names = names_of(model.architecture);
  std::ostringstream out;
  out << R"({"architectures": [")" << names.class_name << R"("], "model_type": ")"
      << names.model_type << R"(", "hidden_act": "silu", "rms_norm_eps": 1e-5, "hidden_size": )"
      << model.hidden_size << R"(, "intermediate_size": )" << kFeedForward
      << R"(, "num_hidden_layers": )" << model.num_layers << R"(, "num_attention_heads": )"
      << model.num_q_heads << R"(, "num_key_value_heads": )" << model.num_kv_heads
      << R"(, "head_dim": )" << model.head_dim << R"(, "vocab_size": )" << model.vocab_size
      << R"(, "max_position_embeddings": )" << model.context
      << R"(, "rope_theta": 10000.0, "torch_dtype": "float32", "tie_word_embeddings": false)";
  if (*model.rope != 0) {
    out << R"(, "rope_scaling": )" << model.rope;
  }
  out << "}\n";
  return out.str();
}

// Collects F32 tensors and writes them as one safetensors file.
class TensorWriter {
 public:
  explicit TensorWriter(uint32_t seed) : random_(seed) {}

  void matrix(const std::string& name, int64_t rows, int64_t cols, double gain) {
    const double std = gain / std::sqrt(static_cast<double>(cols));
    append(name, {rows, cols}, random_.normals(rows * cols, static_cast<float>(std)));
  }
  void vector(const std::string& name, int64_t size, float mean, float std) {
    std::vector<float> values = random_.normals(size, std);
    for (float& value : values) {
      value += mean;
    }
    append(name, {size}, values);
  }
  void save(const std::filesystem::path& file) const {
    std::string header = "{" + entries_ + "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t header_bytes = header.size();
    std::ofstream out(file, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&header_bytes), sizeof(header_bytes));
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    out.write(reinterpret_cast<const char*>(data_.data()),
              static_cast<std::streamsize>(data_.size() * sizeof(float)));
    require(out.good(), ErrorCode::kIo, "cannot write ", file.string());
  }

 private:
  void append(const std::string& name, const std::vector<int64_t>& shape,
              const std::vector<float>& values) {
    std::ostringstream entry;
    entry << (entries_.empty() ? "" : ",") << '"' << name << R"(":{"dtype":"F32","shape":[)"
          << shape[0];
    if (shape.size() > 1) {
      entry << ',' << shape[1];
    }
    entry << R"(],"data_offsets":[)" << data_.size() * sizeof(float) << ','
          << (data_.size() + values.size()) * sizeof(float) << "]}";
    entries_ += entry.str();
    data_.insert(data_.end(), values.begin(), values.end());
  }

  Random random_;
  std::string entries_;
  std::vector<float> data_;
};

void add_attention(TensorWriter& writer, const TinyModel& model, const std::string& prefix) {
  const int64_t q_rows = int64_t{model.num_q_heads} * model.head_dim;
  const int64_t kv_rows = int64_t{model.num_kv_heads} * model.head_dim;
  writer.matrix(prefix + "q_proj.weight", q_rows, model.hidden_size, 1.5);
  writer.matrix(prefix + "k_proj.weight", kv_rows, model.hidden_size, 1.5);
  writer.matrix(prefix + "v_proj.weight", kv_rows, model.hidden_size, 1.5);
  writer.matrix(prefix + "o_proj.weight", model.hidden_size, q_rows, 1.5);
  if (model.architecture == Architecture::kQwen2) {
    writer.vector(prefix + "q_proj.bias", q_rows, 0, 0.5F);
    writer.vector(prefix + "k_proj.bias", kv_rows, 0, 0.5F);
    writer.vector(prefix + "v_proj.bias", kv_rows, 0, 0.5F);
  }
  if (model.architecture == Architecture::kQwen3) {
    writer.vector(prefix + "q_norm.weight", model.head_dim, 1.4F, 0.3F);
    writer.vector(prefix + "k_norm.weight", model.head_dim, 1.4F, 0.3F);
  }
}

void add_layer(TensorWriter& writer, const TinyModel& model, int layer) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  writer.vector(prefix + "input_layernorm.weight", model.hidden_size, 1, 0.2F);
  add_attention(writer, model, prefix + "self_attn.");
  writer.vector(prefix + "post_attention_layernorm.weight", model.hidden_size, 1, 0.2F);
  writer.matrix(prefix + "mlp.gate_proj.weight", kFeedForward, model.hidden_size, 1.2);
  writer.matrix(prefix + "mlp.up_proj.weight", kFeedForward, model.hidden_size, 1.2);
  writer.matrix(prefix + "mlp.down_proj.weight", model.hidden_size, kFeedForward, 1.2);
}

}  // namespace

std::span<const TinyModel> tiny_models() {
  return kModels;
}

const TinyModel& tiny_model(const std::string& name) {
  for (const TinyModel& model : kModels) {
    if (name == model.name) {
      return model;
    }
  }
  fail(ErrorCode::kInternal, "no tiny model ", name);
}

std::filesystem::path write_tiny_model(const TinyModel& model) {
  // Tests run as processes side by side.
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) /
      ("lychee_tiny_" + std::string(model.name) + "_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  TensorWriter writer(kSeed + model.seed);
  writer.matrix("model.embed_tokens.weight", model.vocab_size, model.hidden_size,
                std::sqrt(static_cast<double>(model.hidden_size)));
  for (int layer = 0; layer < model.num_layers; ++layer) {
    add_layer(writer, model, layer);
  }
  writer.vector("model.norm.weight", model.hidden_size, 1, 0.2F);
  writer.matrix("lm_head.weight", model.vocab_size, model.hidden_size, 2);
  writer.save(folder / "model.safetensors");
  std::ofstream(folder / "config.json") << config_json(model);
  return folder;
}

std::vector<int32_t> random_tokens(const TinyModel& model, int64_t count, uint32_t seed) {
  Random random(kSeed + seed);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(random.integer(0, model.vocab_size - 1)));
  }
  return tokens;
}

}  // namespace lychee::test
