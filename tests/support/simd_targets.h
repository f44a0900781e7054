#pragma once

#include <hwy/targets.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lychee::test {

// The instruction sets that kernels were compiled for and this CPU has.
[[nodiscard]] inline std::vector<int64_t> simd_targets() {
  return hwy::SupportedAndGeneratedTargets();
}

[[nodiscard]] inline std::string simd_target_name(int64_t target) {
  return hwy::TargetName(target);
}

// Kernels dispatch to `target` alone while this lives.
class SimdTargetScope {
 public:
  explicit SimdTargetScope(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  ~SimdTargetScope() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  SimdTargetScope(const SimdTargetScope&) = delete;
  SimdTargetScope& operator=(const SimdTargetScope&) = delete;
};

}  // namespace lychee::test
