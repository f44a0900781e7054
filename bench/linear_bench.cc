// Matrix products of decode and prefill at the shapes of SmolLM2-135M (Q4_1, Q8_0) and
// Qwen2.5-Coder-1.5B (Q4_K, Q6_K). Decode rows give the rate at which weights are read, to be held
// against the rate of a plain loop over as many bytes in the same run; prefill rows give FLOP/s.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/linear/linear.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace lychee::linear {
namespace {

// More than the caches of a core hold: shapes are rotated through this many bytes of weights.
constexpr int64_t kRotatedBytes = int64_t{96} << 20;

Buffer random_bytes(int64_t bytes) {
  Buffer buffer(bytes);
  std::mt19937_64 random(0x5eed);
  for (int64_t i = 0; i + 8 <= bytes; i += 8) {
    // Bit 6 of each byte off: no half-precision scale becomes infinite.
    const uint64_t word = random() & 0xbfbfbfbfbfbfbfbf;
    std::memcpy(buffer.data() + i, &word, sizeof(word));
  }
  return buffer;
}

std::vector<float> random_values(int64_t count) {
  std::mt19937 random(0x5eed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = normal(random);
  }
  return values;
}

// On a machine with other work the best repetition counts: the least time, the highest rate.
double smallest(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

double largest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

struct Shape {
  DType dtype;
  int64_t in_features;
  std::vector<int64_t> outputs;  // of weights that share the activations
};

int64_t weight_bytes(const Shape& shape) {
  const int64_t outputs = std::accumulate(shape.outputs.begin(), shape.outputs.end(), int64_t{0});
  return dtype_bytes(shape.dtype, shape.in_features) * outputs;
}

// `copies` groups of weights in a row, run one after the other.
class Rotation {
 public:
  Rotation(const Shape& shape, int64_t num_rows, int64_t copies)
      : weights_(random_bytes(copies * weight_bytes(shape))),
        x_(random_values(num_rows * shape.in_features)),
        targets_(static_cast<size_t>(copies)) {
    const int64_t row_bytes = dtype_bytes(shape.dtype, shape.in_features);
    const std::byte* weight = weights_.data();
    y_.resize(shape.outputs.size());
    for (auto& targets : targets_) {
      for (size_t i = 0; i < shape.outputs.size(); ++i) {
        const int64_t outputs = shape.outputs[i];
        y_[i].resize(static_cast<size_t>(num_rows * outputs));
        targets.push_back({outputs, shape.dtype, weight, nullptr, y_[i].data(), outputs});
        weight += outputs * row_bytes;
      }
    }
    params_ = {num_rows, shape.in_features, x_.data(), shape.in_features, targets_[0], false, false,
               nullptr};
    workspace_ = Buffer(cpu::linear_group_workspace_bytes(params_));
    params_.workspace = workspace_.data();
  }

  void run() {
    for (const auto& targets : targets_) {
      params_.targets = targets;
      cpu::linear_group(params_);
    }
  }

 private:
  Buffer weights_;
  std::vector<float> x_;
  std::vector<std::vector<float>> y_;
  std::vector<std::vector<LinearTarget>> targets_;
  Buffer workspace_;
  LinearGroupParams params_{};
};

void decode(benchmark::State& state, const Shape& shape, int64_t num_rows) {
  const int64_t copies = std::max<int64_t>(1, kRotatedBytes / weight_bytes(shape));
  Rotation rotation(shape, num_rows, copies);
  for (auto _ : state) {
    rotation.run();
  }
  state.SetBytesProcessed(state.iterations() * copies * weight_bytes(shape));
  state.counters["us_per_call"] =
      benchmark::Counter(static_cast<double>(state.iterations() * copies) * 1e-6,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void prefill(benchmark::State& state, const Shape& shape, int64_t num_rows) {
  Rotation rotation(shape, num_rows, 1);
  for (auto _ : state) {
    rotation.run();
  }
  const int64_t outputs = std::accumulate(shape.outputs.begin(), shape.outputs.end(), int64_t{0});
  state.counters["FLOP/s"] = benchmark::Counter(
      2.0 * static_cast<double>(state.iterations() * num_rows * shape.in_features * outputs),
      benchmark::Counter::kIsRate);
}

// The floor: as many bytes, summed as 64-bit words.
void read_bytes(benchmark::State& state) {
  const Buffer buffer = random_bytes(kRotatedBytes);
  for (auto _ : state) {
    uint64_t total = 0;
#pragma omp parallel for schedule(static) reduction(+ : total)
    for (int64_t i = 0; i < kRotatedBytes; i += 4096) {
      uint64_t sums[64] = {};
      for (int64_t j = 0; j < 4096; j += 512) {
        uint64_t words[64];
        std::memcpy(words, buffer.data() + i + j, sizeof(words));
        for (int lane = 0; lane < 64; ++lane) {
          sums[lane] += words[lane];
        }
      }
      for (const uint64_t sum : sums) {
        total += sum;
      }
    }
    benchmark::DoNotOptimize(total);
  }
  state.SetBytesProcessed(state.iterations() * kRotatedBytes);
}

void add(const std::string& name, void (*run)(benchmark::State&, const Shape&, int64_t),
         const Shape& shape, int64_t num_rows) {
  benchmark::RegisterBenchmark((name + "/rows:" + std::to_string(num_rows)).c_str(),
                               [=](benchmark::State& state) { run(state, shape, num_rows); })
      ->UseRealTime()
      ->ComputeStatistics("least", smallest)
      ->ComputeStatistics("most", largest);
}

void register_all() {
  benchmark::RegisterBenchmark("read", read_bytes)
      ->UseRealTime()
      ->ComputeStatistics("least", smallest)
      ->ComputeStatistics("most", largest);
  const Shape smollm_qkv = {DType::kQ4_1, 576, {576, 192, 192}};
  const Shape smollm_gate_up = {DType::kQ4_1, 576, {1536, 1536}};
  const Shape smollm_down = {DType::kQ4_1, 1536, {576}};
  const Shape smollm_head = {DType::kQ8_0, 576, {49152}};
  add("smollm2_qkv_q4_1", decode, smollm_qkv, 1);
  add("smollm2_o_q4_1", decode, {DType::kQ4_1, 576, {576}}, 1);
  add("smollm2_gate_up_q4_1", decode, smollm_gate_up, 1);
  add("smollm2_down_q4_1", decode, smollm_down, 1);
  add("smollm2_head_q8_0", decode, smollm_head, 1);
  add("smollm2_gate_up_q4_1", decode, smollm_gate_up, 8);
  add("qwen_gate_up_q4_K", decode, {DType::kQ4_K, 1536, {8960, 8960}}, 1);
  add("qwen_down_q4_K", decode, {DType::kQ4_K, 8960, {1536}}, 1);
  add("qwen_down_q6_K", decode, {DType::kQ6_K, 8960, {1536}}, 1);
  add("qwen_gate_up_q5_0", decode, {DType::kQ5_0, 1536, {8960, 8960}}, 1);
  add("qwen_gate_up_bf16", decode, {DType::kBF16, 1536, {8960, 8960}}, 1);
  add("smollm2_qkv_q4_1", prefill, smollm_qkv, 512);
  add("smollm2_gate_up_q4_1", prefill, smollm_gate_up, 512);
  add("smollm2_down_q4_1", prefill, smollm_down, 512);
  add("qwen_gate_up_q4_K", prefill, {DType::kQ4_K, 1536, {8960, 8960}}, 512);
  add("qwen_down_q6_K", prefill, {DType::kQ6_K, 8960, {1536}}, 512);
  add("qwen_gate_up_f32", prefill, {DType::kF32, 1536, {8960, 8960}}, 512);
}

}  // namespace
}  // namespace lychee::linear

int main(int argc, char** argv) {
  lychee::linear::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
