#include "tensor/dtype.h"

#include <array>

namespace lychee {

const DTypeInfo& dtype_info(DType dtype) {
  static constexpr std::array<DTypeInfo, 12> kInfos = {{
      {"f32", 1, 4},
      {"f16", 1, 2},
      {"bf16", 1, 2},
      {"q4_0", 32, 18},
      {"q4_1", 32, 20},
      {"q5_0", 32, 22},
      {"q5_1", 32, 24},
      {"q8_0", 32, 34},
      {"q4_K", 256, 144},
      {"q5_K", 256, 176},
      {"q6_K", 256, 210},
      {"fp8", 1, 1},
  }};
  return kInfos[static_cast<size_t>(dtype)];
}

}  // namespace lychee
