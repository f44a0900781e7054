#include "io/shape/shape_model.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "io/fetch/sha256.h"
#include "io/shape/random_weights.h"

namespace lychee::io {
namespace {

constexpr std::string_view kPrefix = "shape:";
// Far beyond what they were trained for: what memory allows is the limit here.
constexpr int64_t kContext = int64_t{4} << 20;

struct Shape {
  std::string_view name;
  Architecture architecture;
  int num_layers;
  int hidden_size;
  int intermediate_size;
  int num_q_heads;
  int num_kv_heads;
  int head_dim;
  int vocab_size;
  bool tied;
  double rope_theta;
};

constexpr std::array kShapes{
    Shape{"tiny", Architecture::kLlama, 4, 256, 512, 8, 2, 64, 512, false, 1e4},
    Shape{"smollm2-135m", Architecture::kLlama, 30, 576, 1536, 9, 3, 64, 49152, true, 1e5},
    Shape{"qwen2.5-7b", Architecture::kQwen2, 28, 3584, 18944, 28, 4, 128, 152064, false, 1e6},
    Shape{"llama3-8b", Architecture::kLlama, 32, 4096, 14336, 32, 8, 128, 128256, false, 5e5},
    Shape{"qwen3-8b", Architecture::kQwen3, 36, 4096, 12288, 32, 8, 128, 151936, false, 1e6},
    Shape{"llama3-70b", Architecture::kLlama, 80, 8192, 28672, 64, 8, 128, 128256, false, 5e5},
};

const Shape& find_shape(std::string_view model) {
  std::string_view name = model;
  name.remove_prefix(kPrefix.size());
  const auto* it = std::ranges::find(kShapes, name, &Shape::name);
  if (it == kShapes.end()) {
    std::string known;
    for (const Shape& shape : kShapes) {
      known.append(known.empty() ? "" : ", ").append(shape.name);
    }
    fail(ErrorCode::kInvalidArgument, "there is no shape '", name, "'; the shapes are ", known);
  }
  return *it;
}

}  // namespace

bool is_shape_model(std::string_view model) {
  return model.starts_with(kPrefix);
}

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  names.reserve(kShapes.size());
  for (const Shape& shape : kShapes) {
    names.emplace_back(shape.name);
  }
  return names;
}

ModelConfig shape_config(std::string_view model) {
  const Shape& shape = find_shape(model);
  ModelConfig config;
  config.architecture = shape.architecture;
  config.num_layers = shape.num_layers;
  config.hidden_size = shape.hidden_size;
  config.intermediate_size = shape.intermediate_size;
  config.num_q_heads = shape.num_q_heads;
  config.num_kv_heads = shape.num_kv_heads;
  config.head_dim = shape.head_dim;
  config.vocab_size = shape.vocab_size;
  config.context_length = kContext;
  config.rope_theta = shape.rope_theta;
  config.tie_word_embeddings = shape.tied;
  config.attention_bias = shape.architecture == Architecture::kQwen2;
  config.qk_norm = shape.architecture == Architecture::kQwen3;
  config.dtype = DType::kBF16;
  return config;
}

ModelFiles make_shape_model(std::string_view model, DType weights) {
  ModelFiles files;
  files.name = model;
  files.config = shape_config(model);
  files.naming = TensorNaming::kHuggingFace;
  files.header_sha256 = sha256_hex(files.name);
  write_random_weights(weights, files);
  return files;
}

}  // namespace lychee::io
