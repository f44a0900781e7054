#pragma once

#include <cuda_runtime_api.h>

#include "kernels/attention/params.h"

namespace lychee::attention::cuda {

// What SelectMode::kBlock chooses among: units of `size` tokens; `scored`: `scores` has one value a
// unit instead of one a token, and kRatio chooses among them too.
struct SelectUnits {
  int size = Selection::kBlockSize;
  bool scored = false;
};

void select_units(const SelectTokensParams& params, const SelectUnits& units, cudaStream_t stream);

}  // namespace lychee::attention::cuda
