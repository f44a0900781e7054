#include "model/cuda_activations.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <vector>

#include "kernels/linear/linear.h"
#include "kernels/sampling/sample.h"
#include "model/cuda_memory.h"

namespace lychee::model {

namespace {

constexpr int64_t kFloat = sizeof(float);

// Bytes of x, normed, qkv, attended, gate, the RoPE table, ids, positions; then of what decode rows
// alone take: logits and frequencies.
std::array<int64_t, 10> activation_bytes(const io::ModelConfig& config, int64_t max_rows) {
  const int64_t q_size = int64_t{config.num_q_heads} * config.head_dim;
  const int64_t kv_size = int64_t{config.num_kv_heads} * config.head_dim;
  return {max_rows * config.hidden_size * kFloat,
          max_rows * config.hidden_size * kFloat,
          max_rows * (q_size + 2 * kv_size) * kFloat,
          max_rows * q_size * kFloat,
          max_rows * config.intermediate_size * kFloat,
          max_rows * config.head_dim * kFloat,
          max_rows * static_cast<int64_t>(sizeof(int32_t)),
          max_rows * static_cast<int64_t>(sizeof(int64_t)),
          linear::kMaxDecodeRows * config.vocab_size * kFloat,
          linear::kMaxDecodeRows * config.head_dim / 2 * kFloat};
}

// The most scratch that any of the model's matrices wants.
int64_t most_linear_scratch(const CudaWeights& weights, int64_t max_rows, bool exact,
                            const linear::DeviceGemm* gemm) {
  int64_t most = 0;
  const auto add = [&](std::initializer_list<const CudaLinear*> linears, int64_t rows,
                       bool swiglu) {
    std::vector<linear::DeviceLinearTarget> targets;
    for (const CudaLinear* linear : linears) {
      targets.push_back({linear->weight, linear->bias, nullptr, linear->weight.out_features});
    }
    const int64_t in_features = targets.front().weight.in_features;
    most = std::max(most, linear::cuda::linear_workspace_bytes({.num_rows = rows,
                                                                .in_features = in_features,
                                                                .x = nullptr,
                                                                .rounded_x = nullptr,
                                                                .x_stride = in_features,
                                                                .norm = {},
                                                                .targets = targets,
                                                                .accumulate = false,
                                                                .swiglu = swiglu,
                                                                .rounded_swiglu = nullptr,
                                                                .exact = exact,
                                                                .gemm = gemm,
                                                                .workspace = nullptr}));
  };
  for (const CudaLayer& layer : weights.layers()) {
    add({&layer.q, &layer.k, &layer.v}, max_rows, false);
    add({&layer.o}, max_rows, false);
    add({&layer.gate, &layer.up}, max_rows, true);
    add({&layer.down}, max_rows, false);
  }
  add({&weights.lm_head()}, linear::kMaxDecodeRows, false);
  return most;
}

}  // namespace

int64_t CudaActivations::bytes(const io::ModelConfig& config, int max_rows) {
  DeviceLayout layout;
  for (const int64_t size : activation_bytes(config, max_rows)) {
    layout.add(size);
  }
  return layout.bytes();
}

CudaActivations::CudaActivations(const io::ModelConfig& config, const CudaWeights& weights,
                                 int rows, bool exact, const linear::DeviceGemm* gemm,
                                 const Stream& stream)
    : max_rows(rows), memory_(bytes(config, rows)) {
  DeviceLayout layout;
  std::array<std::byte*, 10> places{};
  const std::array<int64_t, 10> sizes = activation_bytes(config, rows);
  for (size_t i = 0; i < sizes.size(); ++i) {
    places[i] = memory_.data() + layout.add(sizes[i]);
  }
  const auto floats = [&](size_t i) { return reinterpret_cast<float*>(places[i]); };
  x = floats(0);
  normed = floats(1);
  qkv = floats(2);
  attended = floats(3);
  gate = floats(4);
  rounded_normed = reinterpret_cast<bf16*>(normed);
  rounded_q = attended;
  rounded_attended =
      reinterpret_cast<bf16*>(attended) + max_rows * config.num_q_heads * config.head_dim;
  rounded_gate = reinterpret_cast<bf16*>(gate);
  rope_table = floats(5);
  ids = reinterpret_cast<int32_t*>(places[6]);
  positions = reinterpret_cast<int64_t*>(places[7]);
  logits = floats(8);
  inv_freq = floats(9);

  DeviceLayout scratch;
  const int64_t linear_at = scratch.add(most_linear_scratch(weights, rows, exact, gemm));
  const int64_t argmax_at =
      scratch.add(sampling::cuda::argmax_workspace_bytes(linear::kMaxDecodeRows));
  scratch_ = DeviceBuffer(scratch.bytes());
  fill_on_device(scratch_.data(), 0, scratch.bytes(), stream.get());
  linear_workspace = scratch_.data() + linear_at;
  argmax_workspace = scratch_.data() + argmax_at;
  pinned_ = PinnedBuffer((linear::kMaxDecodeRows + 1) * static_cast<int64_t>(sizeof(int32_t)));
  greedy_ids = reinterpret_cast<int32_t*>(pinned_.data());
  drawn_id = greedy_ids + linear::kMaxDecodeRows;
}

}  // namespace lychee::model
