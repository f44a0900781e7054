#include "model/weights.h"

#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/quantize.h"

namespace lychee::model {

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

// Both naming schemes, as one set of words.
struct Names {
  const char* layer;
  const char* embedding;
  const char* final_norm;
  const char* lm_head;
  const char* attention_norm;
  const char* q;
  const char* k;
  const char* v;
  const char* o;
  const char* q_norm;
  const char* k_norm;
  const char* mlp_norm;
  const char* gate;
  const char* up;
  const char* down;
};

constexpr Names kHuggingFaceNames = {
    "model.layers.",    "model.embed_tokens", "model.norm",       "lm_head",
    "input_layernorm",  "self_attn.q_proj",   "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "self_attn.q_norm",   "self_attn.k_norm", "post_attention_layernorm",
    "mlp.gate_proj",    "mlp.up_proj",        "mlp.down_proj"};
constexpr Names kGgufNames = {"blk.",        "token_embd",  "output_norm", "output",
                              "attn_norm",   "attn_q",      "attn_k",      "attn_v",
                              "attn_output", "attn_q_norm", "attn_k_norm", "ffn_norm",
                              "ffn_gate",    "ffn_up",      "ffn_down"};

class Loader {
 public:
  Loader(const io::ModelFiles& files, ModelWeights& weights)
      : files_(files),
        config_(files.config),
        names_(files.naming == io::TensorNaming::kGguf ? kGgufNames : kHuggingFaceNames),
        weights_(weights) {}

  void load() {
    weights_.embedding =
        find(std::string(names_.embedding) + ".weight", {config_.vocab_size, config_.hidden_size});
    weights_.final_norm = vector(std::string(names_.final_norm) + ".weight", config_.hidden_size);
    weights_.lm_head = lm_head();
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      weights_.layers.push_back(load_layer(layer));
    }
  }

 private:
  [[nodiscard]] const TensorView& find(const std::string& name,
                                       const std::vector<int64_t>& shape) const {
    const auto it = files_.tensors.find(name);
    require(it != files_.tensors.end(), ErrorCode::kInvalidArgument, files_.name, ": tensor ", name,
            " is missing");
    require(it->second.shape == shape, ErrorCode::kInvalidArgument, files_.name, ": tensor ", name,
            " has shape ", shape_text(it->second.shape), ", expected ", shape_text(shape));
    return it->second;
  }

  [[nodiscard]] std::vector<float> vector(const std::string& name, int size) const {
    const TensorView& tensor = find(name, {size});
    std::vector<float> values(static_cast<size_t>(size));
    linear::dequantize(tensor.dtype, tensor.data, size, values.data());
    return values;
  }

  [[nodiscard]] LinearWeights matrix(const std::string& name, int out_features, int in_features,
                                     bool bias) const {
    const TensorView& tensor = find(name + ".weight", {out_features, in_features});
    const int block = dtype_info(tensor.dtype).block_size;
    require(in_features % block == 0, ErrorCode::kInvalidArgument, files_.name, ": rows of ", name,
            " hold ", in_features, " values, no multiple of the ", dtype_info(tensor.dtype).name,
            " block of ", block);
    LinearWeights linear{tensor.dtype, tensor.data, out_features, in_features, {}};
    if (bias) {
      linear.bias = vector(name + ".bias", out_features);
    }
    return linear;
  }

  [[nodiscard]] LinearWeights lm_head() const {
    if (config_.tie_word_embeddings) {
      return {weights_.embedding.dtype,
              weights_.embedding.data,
              config_.vocab_size,
              config_.hidden_size,
              {}};
    }
    return matrix(names_.lm_head, config_.vocab_size, config_.hidden_size, false);
  }

  // GGUF stores Llama's q and k for adjacent-pair RoPE: within a head of size d, file row 2i + s is
  // checkpoint row s · d/2 + i.
  void unpermute(LinearWeights& linear) {
    const int64_t row_bytes = dtype_bytes(linear.dtype, linear.in_features);
    const int half = config_.head_dim / 2;
    const auto file_row = [&](int row) {
      const int in_head = row % config_.head_dim;
      return row - in_head + 2 * (in_head % half) + in_head / half;
    };
    Buffer rows(linear.bytes());
    std::vector<float> bias = linear.bias;
    for (int row = 0; row < linear.out_features; ++row) {
      std::memcpy(rows.data() + row * row_bytes, linear.weight + file_row(row) * row_bytes,
                  static_cast<size_t>(row_bytes));
      if (!bias.empty()) {
        bias[static_cast<size_t>(row)] = linear.bias[static_cast<size_t>(file_row(row))];
      }
    }
    linear.weight = rows.data();
    linear.bias = std::move(bias);
    weights_.owned.push_back(std::move(rows));
  }

  [[nodiscard]] LayerWeights load_layer(int index) {
    const std::string prefix = names_.layer + std::to_string(index) + ".";
    const int hidden = config_.hidden_size;
    const int q_size = config_.num_q_heads * config_.head_dim;
    const int kv_size = config_.num_kv_heads * config_.head_dim;
    const int mlp = config_.intermediate_size;
    const bool bias = config_.attention_bias;
    LayerWeights layer;
    layer.attention_norm = vector(prefix + names_.attention_norm + ".weight", hidden);
    layer.q = matrix(prefix + names_.q, q_size, hidden, bias);
    layer.k = matrix(prefix + names_.k, kv_size, hidden, bias);
    layer.v = matrix(prefix + names_.v, kv_size, hidden, bias);
    if (config_.qk_norm) {
      layer.q_norm = vector(prefix + names_.q_norm + ".weight", config_.head_dim);
      layer.k_norm = vector(prefix + names_.k_norm + ".weight", config_.head_dim);
    }
    layer.o = matrix(prefix + names_.o, hidden, q_size, config_.attention_output_bias);
    layer.mlp_norm = vector(prefix + names_.mlp_norm + ".weight", hidden);
    layer.gate = matrix(prefix + names_.gate, mlp, hidden, config_.mlp_bias);
    layer.up = matrix(prefix + names_.up, mlp, hidden, config_.mlp_bias);
    layer.down = matrix(prefix + names_.down, hidden, mlp, config_.mlp_bias);
    const bool permuted = files_.naming == io::TensorNaming::kGguf &&
                          (config_.architecture == io::Architecture::kLlama ||
                           config_.architecture == io::Architecture::kMistral);
    if (permuted) {
      unpermute(layer.q);
      unpermute(layer.k);
    }
    return layer;
  }

  const io::ModelFiles& files_;
  const io::ModelConfig& config_;
  const Names& names_;
  ModelWeights& weights_;
};

}  // namespace

namespace {

std::array<const LinearWeights*, 7> matrices(const LayerWeights& layer) {
  return {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down};
}

void quantize_matrix(LinearWeights& linear, DType dtype, std::vector<Buffer>& owned) {
  if (linear.dtype == dtype) {
    return;
  }
  LinearWeights rounded = linear;
  rounded.dtype = dtype;
  Buffer memory(rounded.bytes());
  linear::cpu::quantize({.num_rows = linear.out_features,
                         .num_columns = linear.in_features,
                         .from = linear.dtype,
                         .src = linear.weight,
                         .to = dtype,
                         .dst = memory.data()});
  rounded.weight = memory.data();
  linear = std::move(rounded);
  owned.push_back(std::move(memory));
}

// Rows of the embedding table stay the file's.
void quantize_weights(ModelWeights& weights, DType dtype) {
  quantize_matrix(weights.lm_head, dtype, weights.owned);
  for (LayerWeights& layer : weights.layers) {
    for (LinearWeights* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      quantize_matrix(*linear, dtype, weights.owned);
    }
  }
}

}  // namespace

int64_t ModelWeights::bytes_per_step() const {
  int64_t bytes = lm_head.bytes();
  for (const LayerWeights& layer : layers) {
    for (const LinearWeights* linear : matrices(layer)) {
      bytes += linear->bytes();
    }
  }
  return bytes;
}

int64_t ModelWeights::layer_parameters() const {
  int64_t count = 0;
  for (const LayerWeights& layer : layers) {
    for (const LinearWeights* linear : matrices(layer)) {
      count += int64_t{linear->out_features} * linear->in_features;
    }
  }
  return count;
}

int64_t weight_bytes(const io::ModelConfig& config, DType dtype) {
  const int64_t hidden = config.hidden_size;
  const int64_t q_size = int64_t{config.num_q_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
  const int64_t layer = hidden * (2 * q_size + 2 * kv_size + int64_t{3} * config.intermediate_size);
  const int64_t vocab = config.vocab_size * hidden;
  // Tied or not: rows of the embedding table are read at the file's value.
  return dtype_bytes(dtype, config.num_layers * layer + vocab) + dtype_bytes(DType::kBF16, vocab);
}

ModelWeights load_weights(const io::ModelFiles& files, std::optional<DType> dtype) {
  ModelWeights weights;
  Loader(files, weights).load();
  if (dtype) {
    quantize_weights(weights, *dtype);
  }
  return weights;
}

}  // namespace lychee::model
