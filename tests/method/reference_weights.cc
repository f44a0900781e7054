#include "method/reference_weights.h"

#include <cstring>
#include <string>

#include "base/check.h"

namespace lychee::test {

std::vector<double> Matrix::times(const std::vector<double>& x) const {
  std::vector<double> y(static_cast<size_t>(rows));
  for (size_t row = 0; row < y.size(); ++row) {
    double sum = bias.empty() ? 0 : bias[row];
    for (size_t col = 0; col < x.size(); ++col) {
      sum += values[row * x.size() + col] * x[col];
    }
    y[row] = sum;
  }
  return y;
}

namespace {

template <typename T>
double load(const std::byte* data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return double{static_cast<float>(value)};
}

std::vector<double> to_double(const TensorView& tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.count()));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    switch (tensor.dtype) {
      case DType::kF32:
        values[i] = load<float>(tensor.data, at);
        break;
      case DType::kF16:
        values[i] = load<f16>(tensor.data, at);
        break;
      case DType::kBF16:
        values[i] = load<bf16>(tensor.data, at);
        break;
      default:
        fail(ErrorCode::kUnsupported, "the reference model reads f32, f16 and bf16 alone");
    }
  }
  return values;
}

struct Names {
  const char* huggingface;
  const char* gguf;
};

class Loader {
 public:
  explicit Loader(const io::ModelFiles& files)
      : files_(files), gguf_(files.naming == io::TensorNaming::kGguf) {}

  [[nodiscard]] std::vector<double> vector(int layer, const Names& names,
                                           const char* suffix = ".weight") const {
    const auto found = files_.tensors.find(full_name(layer, names) + suffix);
    return found == files_.tensors.end() ? std::vector<double>{} : to_double(found->second);
  }

  [[nodiscard]] Matrix matrix(int layer, const Names& names) const {
    const auto found = files_.tensors.find(full_name(layer, names) + ".weight");
    if (found == files_.tensors.end()) {
      return {};
    }
    const TensorView& tensor = found->second;
    return {tensor.shape.at(0), tensor.shape.at(1), to_double(tensor),
            vector(layer, names, ".bias")};
  }

  // Rows of q or k in rotate-half order. Llama's GGUF files hold row s · d/2 + i of a head of size
  // d at 2i + s (assets.md, 1.4).
  [[nodiscard]] Matrix rotary_matrix(int layer, const Names& names) const {
    Matrix matrix = this->matrix(layer, names);
    const bool permuted = gguf_ && (files_.config.architecture == io::Architecture::kLlama ||
                                    files_.config.architecture == io::Architecture::kMistral);
    if (!permuted) {
      return matrix;
    }
    const int64_t d = files_.config.head_dim;
    const std::vector<double> stored = matrix.values;
    for (int64_t row = 0; row < matrix.rows; ++row) {
      const int64_t head = row / d;
      const int64_t half = row % d / (d / 2);
      const int64_t from = head * d + 2 * (row % (d / 2)) + half;
      for (int64_t col = 0; col < matrix.cols; ++col) {
        matrix.values[static_cast<size_t>(row * matrix.cols + col)] =
            stored[static_cast<size_t>(from * matrix.cols + col)];
      }
    }
    return matrix;
  }

 private:
  [[nodiscard]] std::string full_name(int layer, const Names& names) const {
    if (layer < 0) {
      return gguf_ ? names.gguf : names.huggingface;
    }
    return (gguf_ ? "blk." : "model.layers.") + std::to_string(layer) + "." +
           (gguf_ ? names.gguf : names.huggingface);
  }

  const io::ModelFiles& files_;
  bool gguf_;
};

}  // namespace

ReferenceWeights load_reference_weights(const io::ModelFiles& files) {
  const Loader loader(files);
  ReferenceWeights weights;
  weights.config = files.config;
  weights.embedding = loader.matrix(-1, {"model.embed_tokens", "token_embd"});
  weights.final_norm = loader.vector(-1, {"model.norm", "output_norm"});
  weights.output = loader.matrix(-1, {"lm_head", "output"});
  if (weights.output.values.empty()) {
    weights.output = weights.embedding;
  }
  for (int i = 0; i < files.config.num_layers; ++i) {
    ReferenceLayer layer;
    layer.attention_norm = loader.vector(i, {"input_layernorm", "attn_norm"});
    layer.q = loader.rotary_matrix(i, {"self_attn.q_proj", "attn_q"});
    layer.k = loader.rotary_matrix(i, {"self_attn.k_proj", "attn_k"});
    layer.v = loader.matrix(i, {"self_attn.v_proj", "attn_v"});
    layer.o = loader.matrix(i, {"self_attn.o_proj", "attn_output"});
    layer.q_norm = loader.vector(i, {"self_attn.q_norm", "attn_q_norm"});
    layer.k_norm = loader.vector(i, {"self_attn.k_norm", "attn_k_norm"});
    layer.mlp_norm = loader.vector(i, {"post_attention_layernorm", "ffn_norm"});
    layer.gate = loader.matrix(i, {"mlp.gate_proj", "ffn_gate"});
    layer.up = loader.matrix(i, {"mlp.up_proj", "ffn_up"});
    layer.down = loader.matrix(i, {"mlp.down_proj", "ffn_down"});
    weights.layers.push_back(std::move(layer));
  }
  return weights;
}

}  // namespace lychee::test
