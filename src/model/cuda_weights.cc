#include "model/cuda_weights.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "model/cuda_memory.h"

namespace lychee::model {

using linear::DeviceFormat;
using linear::DeviceWeight;

// Walks all weights in one order: first to add up their sizes, then to copy them.
class CudaWeights::Builder {
 public:
  Builder(const ModelWeights& weights, std::optional<DeviceFormat> format)
      : weights_(weights), format_(format) {}

  [[nodiscard]] int64_t bytes() {
    CudaWeights unused;
    walk(unused);
    return layout_.bytes();
  }
  // `memory` holds bytes().
  void copy(CudaWeights& target, const Stream& stream) {
    memory_ = target.memory_.data();
    stream_ = &stream;
    for (Staging& staging : staging_) {
      staging.memory = PinnedBuffer(kStagingBytes);
    }
    layout_ = {};
    walk(target);
    stream.synchronize();
  }

 private:
  // Pieces large enough for the link's full rate; two, so that one is packed while the other moves.
  static constexpr int64_t kStagingBytes = int64_t{32} << 20;
  struct Staging {
    PinnedBuffer memory;
    Event moved;
  };

  void walk(CudaWeights& target) {
    const TensorView& table = weights_.embedding;
    const LinearWeights embedding{table.dtype,
                                  table.data,
                                  static_cast<int>(table.shape[0]),
                                  static_cast<int>(table.shape[1]),
                                  {}};
    target.embedding_ = matrix(embedding, linear::device_format(table.dtype));
    const bool tied = weights_.lm_head.weight == table.data;
    // A tied table serves both, unless the output matrix is rounded.
    target.lm_head_ = tied && !format_ ? CudaLinear{target.embedding_, nullptr}
                                       : matrix_and_bias(weights_.lm_head);
    target.bytes_per_step_ = size_of(target.lm_head_.weight);
    target.final_norm_ = vector(weights_.final_norm);
    for (const LayerWeights& host : weights_.layers) {
      CudaLayer layer{};
      layer.attention_norm = vector(host.attention_norm);
      layer.q = matrix_and_bias(host.q);
      layer.k = matrix_and_bias(host.k);
      layer.v = matrix_and_bias(host.v);
      layer.q_norm = vector(host.q_norm);
      layer.k_norm = vector(host.k_norm);
      layer.o = matrix_and_bias(host.o);
      layer.mlp_norm = vector(host.mlp_norm);
      layer.gate = matrix_and_bias(host.gate);
      layer.up = matrix_and_bias(host.up);
      layer.down = matrix_and_bias(host.down);
      for (const CudaLinear* linear :
           {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
        target.bytes_per_step_ += size_of(linear->weight);
      }
      target.layers_.push_back(layer);
    }
  }

  static int64_t size_of(const DeviceWeight& weight) {
    return linear::device_weight_bytes(weight.format, weight.in_features, weight.out_features);
  }

  CudaLinear matrix_and_bias(const LinearWeights& host) {
    const DeviceFormat format = format_.value_or(linear::device_format(host.dtype));
    return {matrix(host, format), vector(host.bias)};
  }

  DeviceWeight matrix(const LinearWeights& host, DeviceFormat format) {
    DeviceWeight weight{format, host.in_features, host.out_features, nullptr};
    std::byte* place = take(size_of(weight));
    weight.data = place;
    if (stream_ == nullptr) {
      return weight;
    }
    const int64_t band_bytes = linear::device_band_bytes(format, host.in_features);
    const int64_t row_bytes = dtype_bytes(host.dtype, host.in_features);
    const int64_t bands_at_once = std::max<int64_t>(kStagingBytes / band_bytes, 1);
    const int64_t rows_at_once = bands_at_once * linear::kBandRows;
    for (int64_t row = 0; row < host.out_features; row += rows_at_once) {
      const int64_t rows = std::min(rows_at_once, host.out_features - row);
      const int64_t bytes = ceil_div(rows, linear::kBandRows) * band_bytes;
      Staging& staging = next_staging(bytes);
      linear::cpu::pack_device_weight(format, host.dtype, host.weight + row * row_bytes, rows,
                                      host.in_features, staging.memory.data());
      send(place + row / linear::kBandRows * band_bytes, staging, bytes);
    }
    return weight;
  }

  const float* vector(const std::vector<float>& host) {
    if (host.empty()) {
      return nullptr;
    }
    const int64_t bytes = std::ssize(host) * static_cast<int64_t>(sizeof(float));
    std::byte* place = take(bytes);
    if (stream_ != nullptr) {
      Staging& staging = next_staging(bytes);
      std::memcpy(staging.memory.data(), host.data(), static_cast<size_t>(bytes));
      send(place, staging, bytes);
    }
    return reinterpret_cast<const float*>(place);
  }

  std::byte* take(int64_t bytes) {
    const int64_t offset = layout_.add(bytes);
    return memory_ == nullptr ? nullptr : memory_ + offset;
  }

  Staging& next_staging(int64_t bytes) {
    Staging& staging = staging_[static_cast<size_t>(num_sent_++ % std::ssize(staging_))];
    if (num_sent_ > std::ssize(staging_)) {
      staging.moved.synchronize();
    }
    if (staging.memory.bytes() < bytes) {
      staging.memory = PinnedBuffer(bytes);
    }
    return staging;
  }

  void send(std::byte* place, const Staging& staging, int64_t bytes) {
    copy_to_device(place, staging.memory.data(), bytes, stream_->get());
    staging.moved.record(stream_->get());
  }

  const ModelWeights& weights_;
  std::optional<DeviceFormat> format_;
  DeviceLayout layout_;
  std::byte* memory_ = nullptr;
  const Stream* stream_ = nullptr;  // null: sizes only
  std::array<Staging, 2> staging_;
  int64_t num_sent_ = 0;
};

CudaWeights::CudaWeights(const ModelWeights& weights, std::optional<DeviceFormat> format,
                         const Stream& stream)
    : memory_(bytes(weights, format)) {
  Builder(weights, format).copy(*this, stream);
}

CudaWeights::CudaWeights() = default;

int64_t CudaWeights::bytes(const ModelWeights& weights, std::optional<DeviceFormat> format) {
  return Builder(weights, format).bytes();
}

int64_t CudaWeights::bytes(const io::ModelConfig& config, DeviceFormat format) {
  const int64_t hidden = config.hidden_size;
  const int64_t q_size = int64_t{config.num_q_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
  const int64_t mlp = config.intermediate_size;
  const auto matrix = [&](int64_t out_features, int64_t in_features) {
    return linear::device_weight_bytes(format, in_features, out_features);
  };
  const int64_t layer = matrix(q_size, hidden) + 2 * matrix(kv_size, hidden) +
                        matrix(hidden, q_size) + 2 * matrix(mlp, hidden) + matrix(hidden, mlp);
  return config.num_layers * layer + matrix(config.vocab_size, hidden) +
         linear::device_weight_bytes(DeviceFormat::kBF16, hidden, config.vocab_size);
}

}  // namespace lychee::model
