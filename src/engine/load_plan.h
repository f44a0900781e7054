#pragma once

#include <cstdint>
#include <optional>

#include "io/model_files.h"
#include "kernels/linear/device_weight.h"
#include "lychee/engine.h"
#include "model/kv_cache.h"
#include "tensor/device.h"

namespace lychee::engine {

// What an engine is about to load, worked out before it does.
struct LoadPlan {
  model::KvCacheShape kv;
  MemoryPlan memory;

  [[nodiscard]] int64_t num_pages() const { return memory.cache_tokens / attention::kPageSize; }
};

// Throws Error(kInvalidArgument) for options that no model could be loaded with.
void check_options(const EngineOptions& options);

// The GPU to decode on, or none: what the options ask for, or what there is. Throws
// Error(kUnsupported) that says what is missing.
[[nodiscard]] std::optional<CudaDevice> choose_gpu(const EngineOptions& options);

// What matrices are rounded to; nullopt: the file's. Throws Error(kUnsupported) for what the CPU
// lacks.
[[nodiscard]] std::optional<DType> cpu_weights(WeightFormat format);
[[nodiscard]] std::optional<linear::DeviceFormat> cuda_weights(WeightFormat format);

// The demands of a model on the device that will decode.
struct Demands {
  int64_t weight_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t available_bytes = 0;
  bool cuda = false;
};
// Throws Error(kOutOfMemory) with the numbers, and the most tokens that would fit, when the device
// cannot hold the weights and what cache the options ask for.
[[nodiscard]] LoadPlan plan_loading(const EngineOptions& options, const io::ModelConfig& config,
                                    const Demands& demands);

}  // namespace lychee::engine
