#pragma once

#include <memory>
#include <string>

#include "io/model_files.h"
#include "lychee/engine.h"
#include "model/weights.h"
#include "training/backend.h"
#include "training/distillation.h"

namespace lychee::training {

// What keeps training from running on a GPU, as sentences; empty: nothing does.
struct GpuObstacles {
  std::string device;   // there is no GPU that this build can use
  std::string library;  // cuBLASLt, which every product needs
};

// Where training runs: kAuto becomes kCuda where nothing is missing, else kCpu; a GPU that stays
// idle for want of a library is told on the log. Throws Error(kUnsupported), saying what is
// missing, for a GPU that is asked for and cannot be used.
[[nodiscard]] Device resolve_device(Device wanted, const GpuObstacles& obstacles);
[[nodiscard]] Device resolve_device(Device wanted);  // with this machine's obstacles

// The backend of a resolved device for what `options` say; `weights` must outlive it. Throws
// Error(kOutOfMemory) with the numbers, and the longest context that would fit, when the GPU cannot
// hold it; nothing is loaded before.
[[nodiscard]] std::unique_ptr<Backend<float>> make_backend(Device device,
                                                           const io::ModelConfig& config,
                                                           const model::ModelWeights& weights,
                                                           const DistillationOptions& options);

}  // namespace lychee::training
