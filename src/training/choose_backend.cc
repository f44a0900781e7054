#include "training/choose_backend.h"

#include "base/check.h"
#include "base/logging.h"
#include "kernels/linear/device_linear.h"
#include "tensor/device.h"
#include "training/cpu_backend.h"
#include "training/cuda_backend.h"

namespace lychee::training {
namespace {

constexpr int64_t kReserve = int64_t{512} << 20;  // the driver, cuBLASLt

int64_t mib(int64_t bytes) {
  return bytes >> 20;
}

class GpuDemand {
 public:
  GpuDemand(const io::ModelConfig& config, const model::ModelWeights& weights,
            const DistillationOptions& options)
      : config_(config), weights_(weights), options_(options) {}

  [[nodiscard]] int64_t bytes(int64_t max_context) const {
    DistillationOptions options = options_;
    options.max_context = max_context;
    return CudaBackend::demand(config_, weights_, CudaPrecision::kBF16, options);
  }
  // The longest context that fits into `available`; negative: none does.
  [[nodiscard]] int64_t longest_context(int64_t available) const {
    int64_t fits = -1;
    int64_t too_long = options_.max_context + 1;
    while (too_long - fits > 1) {
      const int64_t middle = fits + (too_long - fits) / 2;
      (bytes(middle) <= available ? fits : too_long) = middle;
    }
    return fits;
  }

 private:
  const io::ModelConfig& config_;
  const model::ModelWeights& weights_;
  const DistillationOptions& options_;
};

void check_memory(const io::ModelConfig& config, const model::ModelWeights& weights,
                  const DistillationOptions& options) {
  const int64_t free_bytes = query_cuda().free_bytes;
  const GpuDemand demand(config, weights, options);
  const int64_t wanted = demand.bytes(options.max_context);
  if (wanted <= free_bytes - kReserve) {
    return;
  }
  const int64_t weight_bytes = model::CudaWeights::bytes(weights, linear::DeviceFormat::kBF16);
  const int64_t longest = demand.longest_context(free_bytes - kReserve);
  fail(ErrorCode::kOutOfMemory, "training with contexts of ", options.max_context,
       " tokens and targets of ", options.max_target, " takes ", mib(wanted),
       " MiB on the GPU, the weights' ", mib(weight_bytes), " MiB among them; ", mib(free_bytes),
       " MiB are free, of which ", mib(kReserve), " MiB stay with the driver: ",
       longest < 0 ? "no context fits" : "contexts of at most " + std::to_string(longest) + " fit",
       ". Lower --context-max, or use --device cpu");
}

}  // namespace

Device resolve_device(Device wanted, const GpuObstacles& obstacles) {
  const bool usable = obstacles.device.empty() && obstacles.library.empty();
  const std::string& first = obstacles.device.empty() ? obstacles.library : obstacles.device;
  require(usable || wanted != Device::kCuda, ErrorCode::kUnsupported, "device cuda: ", first);
  if (wanted == Device::kAuto && obstacles.device.empty() && !usable) {
    log_warn("training on the CPU, though there is a GPU: " + first);
  }
  return usable && wanted != Device::kCpu ? Device::kCuda : Device::kCpu;
}

Device resolve_device(Device wanted) {
  if (wanted == Device::kCpu) {
    return wanted;
  }
  const std::string device = query_cuda().missing;
  return resolve_device(
      wanted, {.device = device, .library = device.empty() ? linear::missing_gemm_library() : ""});
}

std::unique_ptr<Backend<float>> make_backend(Device device, const io::ModelConfig& config,
                                             const model::ModelWeights& weights,
                                             const DistillationOptions& options) {
  if (device == Device::kCpu) {
    return std::make_unique<CpuBackend>(weights);
  }
  check_memory(config, weights, options);
  return std::make_unique<CudaBackend>(weights, CudaPrecision::kBF16);
}

}  // namespace lychee::training
