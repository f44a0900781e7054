#include "kernels/cuda/tensor_map.h"

#include <cudaTypedefs.h>
#include <cuda_runtime_api.h>

#include "base/check.h"
#include "tensor/cuda/check.h"

namespace lychee {
namespace {

// The driver's function, which the runtime finds: so nothing is linked against the driver.
PFN_cuTensorMapEncodeTiled_v12000 encoder() {
  static const auto kEncoder = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found{};
    constexpr unsigned kVersion = 12000;
    cuda_check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kVersion,
                                                cudaEnableDefault, &found));
    require(found == cudaDriverEntryPointSuccess, ErrorCode::kCuda,
            "the driver has no cuTensorMapEncodeTiled: update it");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  return kEncoder;
}

}  // namespace

CUtensorMap tensor_map_3d(const void* data, const std::array<uint64_t, 3>& sizes,
                          const std::array<uint64_t, 2>& strides,
                          const std::array<uint32_t, 3>& box) {
  constexpr std::array<uint32_t, 3> kSteps = {1, 1, 1};
  CUtensorMap map;
  // No more than what is asked for is brought into L2: 256 bytes at a time cost 8 % of an H200's
  // rate.
  const CUresult result =
      encoder()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), sizes.data(),
                strides.data(), box.data(), kSteps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  require(result == CUDA_SUCCESS, ErrorCode::kCuda, "cuTensorMapEncodeTiled: error ", result);
  return map;
}

}  // namespace lychee
