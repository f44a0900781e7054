#include "base/dispatch.h"

#include "base/check.h"
#include "kernels/attention/cuda/alignment.h"
#include "kernels/attention/cuda/prefill_attention/launch.h"
#include "kernels/attention/cuda/prefill_attention/traits.h"
#include "kernels/attention/paged_kv.h"
#include "kernels/attention/prefill_attention.h"

namespace lychee::attention::cuda {

namespace {

// The whole support matrix of the tensor-core kernel; the rest is plain.cu's. One entry of each
// list together = one file in instantiations/.
using Dtypes =
    std::integer_sequence<int, static_cast<int>(DType::kBF16), static_cast<int>(DType::kF16),
                          static_cast<int>(DType::kF8E4M3)>;
using HeadDims = std::integer_sequence<int, 64, 128>;
using Exactness = std::integer_sequence<int, 0, 1>;

bool launch(const PrefillAttentionParams& params, cudaStream_t stream) {
  if (!is_aligned(params.kv) || params.q_row_stride % 2 != 0) {
    return false;
  }
  bool found = false;
  [[maybe_unused]] const bool listed =
      dispatch_int(static_cast<int>(params.kv.dtype), Dtypes{}, [&](auto dtype) {
        found = dispatch_int(params.head_dim, HeadDims{}, [&](auto head_dim) {
          [[maybe_unused]] const bool always =
              dispatch_int(params.exact ? 1 : 0, Exactness{}, [&](auto exact) {
                using Traits = PrefillTraits<static_cast<DType>(dtype()), head_dim(), exact() != 0>;
                launch_prefill_attention<Traits>(params, stream);
              });
        });
      });
  return found;
}

}  // namespace

int64_t prefill_attention_workspace_bytes(const PrefillAttentionParams& /*params*/) {
  return 0;
}

void prefill_attention(const PrefillAttentionParams& params, cudaStream_t stream) {
  require_device_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
  if (!launch(params, stream)) {
    launch_plain_prefill(params, stream);
  }
}

}  // namespace lychee::attention::cuda
