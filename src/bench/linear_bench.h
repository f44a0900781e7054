#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/device_timer.h"
#include "bench/row.h"

namespace lychee::linear {
class DeviceGemm;
}

namespace lychee::bench {

// One linear layer of a decode step: weights that multiply the same activations.
struct LinearShape {
  std::string name;  // qkv, o, gate_up, down, head
  int64_t in_features;
  std::vector<int64_t> out_features;
  bool normed;  // takes the norm of the residual stream, else rounded activations
  bool swiglu;
  bool accumulates;
};
// The layers of a known model: llama3-8b, qwen3-8b, qwen2.5-7b, llama3-70b. Throws
// Error(kInvalidArgument) with the names otherwise.
[[nodiscard]] std::vector<LinearShape> linear_shapes(std::string_view model);
// Measures the CUDA backend's linear layers as a decode step calls them, a norm before them
// included; cold, with random weights.
class LinearBench {
 public:
  // Throws Error(kUnsupported) without a usable GPU.
  explicit LinearBench(int repeats);
  ~LinearBench();
  LinearBench(const LinearBench&) = delete;
  LinearBench& operator=(const LinearBench&) = delete;
  // `weights`: bf16, fp8, int8, int4, or the name of a GGUF type; throws Error(kInvalidArgument)
  // for others.
  [[nodiscard]] Row measure(const LinearShape& shape, std::string_view weights, int batch);

 private:
  DeviceTimer timer_;
  int64_t l2_bytes_;
  std::unique_ptr<linear::DeviceGemm> gemm_;
};

}  // namespace lychee::bench
