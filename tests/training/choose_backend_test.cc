// Where training runs when the GPU, or a library that it needs, is missing.

#include "training/choose_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/linear/device_linear.h"
#include "support/expect_error.h"
#include "tensor/device.h"

namespace lychee::training {
namespace {

using testing::HasSubstr;

const GpuObstacles kNone;
const GpuObstacles kNoGpu{.device = "the driver sees no GPU", .library = ""};
const GpuObstacles kNoLibrary{.device = "", .library = "cannot load cuBLASLt: install it"};

// What `wanted` becomes, and what the log says meanwhile.
std::pair<Device, std::string> resolve(Device wanted, const GpuObstacles& obstacles) {
  testing::internal::CaptureStderr();
  const Device device = resolve_device(wanted, obstacles);
  return {device, testing::internal::GetCapturedStderr()};
}

TEST(ResolveDevice, AutoTakesTheGpuOnlyWhereNothingIsMissing) {
  EXPECT_EQ(resolve(Device::kAuto, kNone), std::pair(Device::kCuda, std::string()));
  EXPECT_EQ(resolve(Device::kAuto, kNoGpu), std::pair(Device::kCpu, std::string()));
}

TEST(ResolveDevice, AutoSaysOnceWhyAGpuStaysIdle) {
  const auto [device, log] = resolve(Device::kAuto, kNoLibrary);
  EXPECT_EQ(device, Device::kCpu);
  EXPECT_THAT(log, HasSubstr("training on the CPU, though there is a GPU: " + kNoLibrary.library));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

TEST(ResolveDevice, CudaNamesWhatIsMissing) {
  EXPECT_EQ(resolve_device(Device::kCuda, kNone), Device::kCuda);
  test::expect_error(ErrorCode::kUnsupported, "device cuda: " + kNoLibrary.library,
                     [] { (void)resolve_device(Device::kCuda, kNoLibrary); });
  test::expect_error(ErrorCode::kUnsupported, "device cuda: " + kNoGpu.device,
                     [] { (void)resolve_device(Device::kCuda, kNoGpu); });
}

TEST(ResolveDevice, CpuNeedsNothing) {
  EXPECT_EQ(resolve(Device::kCpu, kNoLibrary), std::pair(Device::kCpu, std::string()));
  EXPECT_EQ(resolve(Device::kCpu, kNone), std::pair(Device::kCpu, std::string()));
}

TEST(ResolveDevice, OfThisMachineFollowsItsGpuAndLibrary) {
  const bool usable = cuda_available() && linear::missing_gemm_library().empty();
  EXPECT_EQ(resolve_device(Device::kAuto), usable ? Device::kCuda : Device::kCpu);
  EXPECT_EQ(resolve_device(Device::kCpu), Device::kCpu);
}

// A library that cannot be loaded is named, with what to do, alike by the question and the error.
TEST(MissingGemmLibrary, IsWhatMakingOneFailsWith) {
  const std::string missing = linear::missing_gemm_library();
  if (missing.empty()) {
    return;  // made in the tests of products, where there is a GPU
  }
  EXPECT_TRUE(missing.find("libcublasLt") != std::string::npos ||
              missing.find("no CUDA support") != std::string::npos)
      << missing;
  test::expect_error(ErrorCode::kUnsupported, missing, [] { linear::DeviceGemm(); });
}

}  // namespace
}  // namespace lychee::training
