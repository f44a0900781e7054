#include "io/needle/builtin_needle_weights.h"

#include <array>
#include <cmath>
#include <memory>

#include "io/needle/builtin_needle_codes.h"
#include "tensor/buffer.h"

namespace lychee::io {
namespace {

constexpr int kHidden = kNeedleHidden;
constexpr int kIntermediate = kNeedleIntermediate;
constexpr int kHeadDim = kNeedleHeadDim;
constexpr int kPairs = kHeadDim / 2;  // dimension i is rotated with dimension i + kPairs

// The residual stream. Block m of the match codes belongs to token i - m.
constexpr int kMatchAt = 0;
constexpr int kPayloadAAt = 24;
constexpr int kPayloadBAt = 40;
constexpr int kOneAt = 56;
constexpr int kOutputAAt = 64;
constexpr int kOutputBAt = 80;
constexpr int kDistractionAt = 96;

constexpr double kMatchNorm = 2;
constexpr double kPayloadSize = 0.5;  // of each of the 16 entries: norm 2
constexpr double kOne = 4;

// Fast pairs tell positions apart, slow ones (at most 0.19 rad over the whole context) carry
// content. docs/builtin-needle.md derives the weights, which sum to 1.
constexpr int kFastPairs = 6;
constexpr std::array<double, kFastPairs> kFastWeights{0.15, 0.2, 0.15, 0.2, 0.15, 0.15};
constexpr double kPositionSharpness = 500;
constexpr double kMatchSharpness = 80;  // logits for each of the five tokens that agree
constexpr int kMatchedTokens = 5;
constexpr double kDistractorSharpness = 20;
constexpr double kDistractorWeight = 0.25;
constexpr double kLogitScale = 5;

// Squared norms of the residual stream, token after token the same, so that RMSNorm's weight can
// undo its division exactly.
constexpr double kEmbeddingEnergy = 4 + 4 + 4 + kOne * kOne;
constexpr double kBlockEnergy = kMatchNorm * kMatchNorm;
constexpr double kOutputEnergy = 4;

double inverse_frequency(int pair) {
  return std::pow(kNeedleRopeTheta, -static_cast<double>(pair) / kPairs);
}

// A row-major matrix inside the model's memory.
struct Matrix {
  float* data;
  int64_t columns;
  float& operator()(int64_t row, int64_t column) const { return data[row * columns + column]; }
};

class NeedleBuilder {
 public:
  NeedleBuilder(const NeedleSpec& spec, ModelFiles& files)
      : spec_(spec), files_(files), heads_(locate_needle_heads(spec)), codes_(match_codes()) {}

  void build() {
    allocate();
    write_embeddings();
    for (int layer = 0; layer < spec_.layers; ++layer) {
      write_norms(layer);
    }
    write_previous(heads_.previous, 1, 1);
    write_previous(heads_.previous_two, 2, 2);
    write_previous(heads_.previous_four, 4, 2);
    write_circuit(heads_.retrieval, kPayloadAAt, kOutputAAt);
    write_circuit(heads_.copy, kPayloadBAt, kOutputBAt);
    for (size_t i = 0; i < heads_.distractors.size(); ++i) {
      write_distractor(heads_.distractors[i], i % 2 == 0 ? 0 : 1);
    }
  }

 private:
  using Slot = std::pair<int, int>;

  // Tensor `name` of layer `layer`, or of the model for a negative layer.
  static std::string tensor_name(int layer, std::string_view name) {
    std::string full = "model.";
    if (layer >= 0) {
      full += "layers." + std::to_string(layer) + ".";
    }
    return full.append(name).append(".weight");
  }

  struct Shape {
    std::string name;
    std::vector<int64_t> shape;
  };

  [[nodiscard]] std::vector<Shape> shapes() const {
    const int64_t q_rows = int64_t{spec_.kv_heads} * spec_.group * kHeadDim;
    const int64_t kv_rows = int64_t{spec_.kv_heads} * kHeadDim;
    std::vector<Shape> all{{tensor_name(-1, "embed_tokens"), {kNeedleVocabulary, kHidden}},
                           {tensor_name(-1, "norm"), {kHidden}},
                           {"lm_head.weight", {kNeedleVocabulary, kHidden}}};
    for (int layer = 0; layer < spec_.layers; ++layer) {
      all.push_back({tensor_name(layer, "input_layernorm"), {kHidden}});
      all.push_back({tensor_name(layer, "self_attn.q_proj"), {q_rows, kHidden}});
      all.push_back({tensor_name(layer, "self_attn.k_proj"), {kv_rows, kHidden}});
      all.push_back({tensor_name(layer, "self_attn.v_proj"), {kv_rows, kHidden}});
      all.push_back({tensor_name(layer, "self_attn.o_proj"), {kHidden, q_rows}});
      all.push_back({tensor_name(layer, "post_attention_layernorm"), {kHidden}});
      all.push_back({tensor_name(layer, "mlp.gate_proj"), {kIntermediate, kHidden}});
      all.push_back({tensor_name(layer, "mlp.up_proj"), {kIntermediate, kHidden}});
      all.push_back({tensor_name(layer, "mlp.down_proj"), {kHidden, kIntermediate}});
    }
    return all;
  }

  void allocate() {
    const std::vector<Shape> all = shapes();
    std::vector<int64_t> offsets;
    int64_t bytes = 0;
    for (const Shape& entry : all) {
      offsets.push_back(bytes);
      const TensorView view{DType::kF32, entry.shape, nullptr};
      files_.weight_bytes += view.bytes();
      constexpr int64_t kAlignment = 64;
      bytes += (view.bytes() + kAlignment - 1) / kAlignment * kAlignment;
    }
    const auto storage = std::make_shared<Buffer>(bytes);
    memory_ = storage->data();
    for (size_t i = 0; i < all.size(); ++i) {
      files_.tensors[all[i].name] = {DType::kF32, all[i].shape, memory_ + offsets[i]};
    }
    files_.storage.push_back(storage);
  }

  [[nodiscard]] Matrix matrix(int layer, std::string_view name) const {
    return matrix(tensor_name(layer, name));
  }
  [[nodiscard]] Matrix matrix(const std::string& name) const {
    const TensorView& view = files_.tensors.at(name);
    std::byte* data = memory_ + (view.data - memory_);
    return {reinterpret_cast<float*>(data), view.shape.back()};
  }

  void write_embeddings() {
    const Matrix embedding = matrix(-1, "embed_tokens");
    const Matrix head = matrix("lm_head.weight");
    for (int token = 0; token < kNeedleVocabulary; ++token) {
      for (int i = 0; i < kMatchDims; ++i) {
        embedding(token, kMatchAt + i) = static_cast<float>(
            kMatchNorm * codes_[static_cast<size_t>(token)][static_cast<size_t>(i)]);
      }
      embedding(token, kOneAt) = static_cast<float>(kOne);
      // Either half alone leaves several tokens possible: the answer needs both heads.
      for (int i = 0; i < kPayloadDims; ++i) {
        const double a = kPayloadSize * hadamard(token / 8, i);
        const double b = kPayloadSize * hadamard(token % 8, i);
        embedding(token, kPayloadAAt + i) = static_cast<float>(a);
        embedding(token, kPayloadBAt + i) = static_cast<float>(b);
        head(token, kOutputAAt + i) = static_cast<float>(kLogitScale * a);
        head(token, kOutputBAt + i) = static_cast<float>(kLogitScale * b);
      }
    }
  }

  // Squared norm of the residual stream before layer `layer`; `layers` means before the head.
  [[nodiscard]] double energy(int layer) const {
    double sum = kEmbeddingEnergy;
    sum += layer >= 1 ? kBlockEnergy : 0;
    sum += layer >= 2 ? 4 * kBlockEnergy : 0;
    sum += layer > heads_.retrieval.first ? kOutputEnergy : 0;
    sum += layer > heads_.copy.first ? kOutputEnergy : 0;
    return sum;
  }

  void write_norms(int layer) {
    const auto undo = [&](int at) { return static_cast<float>(std::sqrt(energy(at) / kHidden)); };
    const Matrix input = matrix(layer, "input_layernorm");
    const Matrix post = matrix(layer, "post_attention_layernorm");
    for (int i = 0; i < kHidden; ++i) {
      input(0, i) = undo(layer);
      post(0, i) = 1;
    }
    // The head sees the answer alone, so that the final hidden state is the answer alone.
    const Matrix last = matrix(-1, "norm");
    for (int i = kOutputAAt; i < kOutputBAt + kPayloadDims; ++i) {
      last(0, i) = undo(spec_.layers);
    }
  }

  // Entries of the projections for one KV head and all its query heads.
  void set_query(Slot slot, int dim, int from, double value) {
    const Matrix q = matrix(slot.first, "self_attn.q_proj");
    for (int g = 0; g < spec_.group; ++g) {
      const int64_t row = (int64_t{slot.second} * spec_.group + g) * kHeadDim + dim;
      q(row, from) = static_cast<float>(value);
    }
  }
  void set_key(Slot slot, int dim, int from) {
    matrix(slot.first, "self_attn.k_proj")(int64_t{slot.second} * kHeadDim + dim, from) = 1;
  }
  // Value dimension `dim` is residual dimension `from`; the group's outputs add up to `weight` of
  // it in residual dimension `to`.
  void set_copy(Slot slot, int dim, int from, int to, double weight) {
    matrix(slot.first, "self_attn.v_proj")(int64_t{slot.second} * kHeadDim + dim, from) = 1;
    const Matrix out = matrix(slot.first, "self_attn.o_proj");
    for (int g = 0; g < spec_.group; ++g) {
      const int64_t column = (int64_t{slot.second} * spec_.group + g) * kHeadDim + dim;
      out(to, column) = static_cast<float>(weight / spec_.group);
    }
  }

  // Attends to position i - offset and copies its first `blocks` match blocks into blocks
  // offset, offset + 1, …
  void write_previous(Slot slot, int offset, int blocks) {
    for (int pair = 0; pair < kFastPairs; ++pair) {
      const double amplitude = kPositionSharpness * kFastWeights[static_cast<size_t>(pair)] *
                               std::sqrt(double{kHeadDim}) / (kOne * kOne);
      const double phase = -inverse_frequency(pair) * offset;
      set_key(slot, pair, kOneAt);
      set_query(slot, pair, kOneAt, amplitude * std::cos(phase));
      set_query(slot, pair + kPairs, kOneAt, amplitude * std::sin(phase));
    }
    for (int i = 0; i < blocks * kMatchDims; ++i) {
      set_copy(slot, i, kMatchAt + i, kMatchAt + offset * kMatchDims + i, 1);
    }
  }

  // Adds `sharpness` · cos(angle between two tokens' codes) to the score: the query's token i -
  // query_block against the key's token j - key_block, in slow pairs 2 · place and 2 · place + 1.
  void match(Slot slot, int place, int query_block, int key_block, double sharpness) {
    const double weight = sharpness * std::sqrt(double{kHeadDim}) / (kMatchNorm * kMatchNorm);
    for (int i = 0; i < kMatchDims; ++i) {
      const int dim = kFastPairs + 2 * place + i % 2 + (i / 2) * kPairs;
      set_query(slot, dim, kMatchAt + query_block * kMatchDims + i, weight);
      set_key(slot, dim, kMatchAt + key_block * kMatchDims + i);
    }
  }

  // Finds the position whose five predecessors are the current token and its four predecessors.
  void write_circuit(Slot slot, int payload_at, int output_at) {
    for (int token = 0; token < kMatchedTokens; ++token) {
      match(slot, token, token, token + 1, kMatchSharpness);
    }
    for (int i = 0; i < kPayloadDims; ++i) {
      set_copy(slot, i, payload_at + i, output_at + i, 1);
    }
  }

  // Looks for the same token, which is never the place where its successor stands.
  void write_distractor(Slot slot, int block) {
    match(slot, 0, block, block, kDistractorSharpness);
    for (int i = 0; i < kPayloadDims; ++i) {
      set_copy(slot, i, kPayloadAAt + i, kDistractionAt + i,
               kDistractorWeight / static_cast<double>(heads_.distractors.size()));
    }
  }

  const NeedleSpec& spec_;
  ModelFiles& files_;
  NeedleHeads heads_;
  std::vector<std::array<double, kMatchDims>> codes_;
  std::byte* memory_ = nullptr;
};

}  // namespace

void write_needle_weights(const NeedleSpec& spec, ModelFiles& files) {
  NeedleBuilder(spec, files).build();
}

}  // namespace lychee::io
