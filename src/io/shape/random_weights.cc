#include "io/shape/random_weights.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "base/check.h"
#include "base/math.h"
#include "tensor/buffer.h"

namespace lychee::io {
namespace {

// Values of about 1/64, which keep activations near 1 at the widths of real models.
constexpr float kSize = 1.0F / 64;

// Noise is drawn once, and copied into tensor after tensor.
class Noise {
 public:
  explicit Noise(DType dtype) : dtype_(dtype), info_(dtype_info(dtype)) {
    std::mt19937_64 random(1);
    bytes_.resize(static_cast<size_t>(kBlocks * info_.block_bytes));
    for (size_t i = 0; i + sizeof(uint64_t) <= bytes_.size(); i += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(bytes_.data() + i, &word, sizeof(word));
    }
    for (int64_t i = 0; i < kBlocks; ++i) {
      make_weight(bytes_.data() + i * info_.block_bytes);
    }
  }

  [[nodiscard]] DType dtype() const { return dtype_; }
  void copy_to(std::byte* dst, int64_t bytes) {
    while (bytes > 0) {
      const int64_t count = std::min(bytes, std::ssize(bytes_) - next_);
      std::memcpy(dst, bytes_.data() + next_, static_cast<size_t>(count));
      next_ = (next_ + count) % std::ssize(bytes_);
      dst += count;
      bytes -= count;
    }
  }

 private:
  static constexpr int64_t kBlocks = (int64_t{1} << 22) + 8;

  // Turns the random bits of one block into a weight, or several, of a sensible size.
  void make_weight(std::byte* block) const {
    if (dtype_ == DType::kF32) {
      fix_bits<uint32_t>(block, 0x807fffff, 0x3c000000);
    } else if (dtype_ == DType::kBF16) {
      fix_bits<uint16_t>(block, 0x807f, 0x3c00);
    } else if (dtype_ == DType::kF16) {
      fix_bits<uint16_t>(block, 0x83ff, 0x2000);
    } else {
      require(dtype_ == DType::kQ8_0 || dtype_ == DType::kQ4_0, ErrorCode::kUnsupported,
              "random weights come as f32, f16, bf16, q8_0 or q4_0, not ", info_.name);
      const f16 scale(dtype_ == DType::kQ8_0 ? kSize / 74 : kSize / 4.6F);
      std::memcpy(block, &scale, sizeof(scale));
    }
  }

  // Sign and mantissa stay random, the exponent is set.
  template <typename Word>
  static void fix_bits(std::byte* block, Word keep, Word set) {
    Word word = 0;
    std::memcpy(&word, block, sizeof(word));
    word = static_cast<Word>((word & keep) | set);
    std::memcpy(block, &word, sizeof(word));
  }

  DType dtype_;
  const DTypeInfo& info_;
  std::vector<std::byte> bytes_;
  int64_t next_ = 0;
};

class Writer {
 public:
  Writer(DType weights, ModelFiles& files) : files_(files), weights_(weights) {}

  void write() {
    const ModelConfig& config = files_.config;
    const int64_t hidden = config.hidden_size;
    const int64_t q_size = int64_t{config.num_q_heads} * config.head_dim;
    const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
    const int64_t mlp = config.intermediate_size;
    // Only single rows of it are read, unless it is the output matrix as well.
    Noise plain(DType::kBF16);
    matrix("model.embed_tokens", config.vocab_size, hidden,
           config.tie_word_embeddings ? weights_ : plain);
    vector("model.norm.weight", hidden, 1);
    if (!config.tie_word_embeddings) {
      matrix("lm_head", config.vocab_size, hidden, weights_);
    }
    for (int layer = 0; layer < config.num_layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      vector(prefix + "input_layernorm.weight", hidden, 1);
      vector(prefix + "post_attention_layernorm.weight", hidden, 1);
      for (const auto& [name, rows] : {std::pair("q", q_size), {"k", kv_size}, {"v", kv_size}}) {
        const std::string projection = prefix + "self_attn." + name + "_proj";
        matrix(projection, rows, hidden, weights_);
        if (config.attention_bias) {
          vector(projection + ".bias", rows, 0);
        }
      }
      if (config.qk_norm) {
        vector(prefix + "self_attn.q_norm.weight", config.head_dim, 1);
        vector(prefix + "self_attn.k_norm.weight", config.head_dim, 1);
      }
      matrix(prefix + "self_attn.o_proj", hidden, q_size, weights_);
      matrix(prefix + "mlp.gate_proj", mlp, hidden, weights_);
      matrix(prefix + "mlp.up_proj", mlp, hidden, weights_);
      matrix(prefix + "mlp.down_proj", hidden, mlp, weights_);
    }
  }

 private:
  std::byte* allocate(const std::string& name, DType dtype, std::vector<int64_t> shape) {
    TensorView view{dtype, std::move(shape), nullptr};
    const auto storage = std::make_shared<Buffer>(view.bytes());
    view.data = storage->data();
    files_.weight_bytes += view.bytes();
    files_.storage.push_back(storage);
    files_.tensors[name] = view;
    return storage->data();
  }

  void matrix(const std::string& name, int64_t rows, int64_t columns, Noise& noise) {
    std::byte* data = allocate(name + ".weight", noise.dtype(), {rows, columns});
    noise.copy_to(data, dtype_bytes(noise.dtype(), rows * columns));
  }

  void vector(const std::string& name, int64_t size, float value) {
    auto* data = reinterpret_cast<float*>(allocate(name, DType::kF32, {size}));
    std::fill_n(data, size, value);
  }

  ModelFiles& files_;
  Noise weights_;
};

}  // namespace

void write_random_weights(DType weights, ModelFiles& files) {
  Writer(weights, files).write();
}

}  // namespace lychee::io
