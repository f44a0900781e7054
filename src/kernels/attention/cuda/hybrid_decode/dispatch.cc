#include "base/dispatch.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/cuda/alignment.h"
#include "kernels/attention/cuda/hybrid_decode/launch.h"
#include "kernels/attention/cuda/hybrid_decode/traits.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/paged_kv.h"
#include "tensor/cuda/device_attribute.h"

namespace lychee::attention::cuda {

namespace {

// The whole support matrix of the tensor-core kernel; the rest is plain.cu's. One entry of each
// list together = one file in instantiations/.
using Dtypes =
    std::integer_sequence<int, static_cast<int>(DType::kBF16), static_cast<int>(DType::kF16),
                          static_cast<int>(DType::kF8E4M3)>;
using HeadDims = std::integer_sequence<int, 64, 128>;
using HeadTiles = std::integer_sequence<int, 1, 2>;

constexpr int kMaxKvHeads = 32;      // a lane looks after each
constexpr int kInvariantBatch = 64;  // up to here a row's rounding depends on that row alone
constexpr int kPlainSplits = 16;

int num_multiprocessors() {
  return device_attribute(cudaDevAttrMultiProcessorCount);
}

DecodeWorkspace make_workspace(const HybridDecodeParams& params, int num_blocks) {
  const int per_row = num_blocks * kInvariantBatch / std::max(params.batch, kInvariantBatch);
  const int max_parts = std::clamp(per_row, 1, DecodeWorkspace::kMaxParts);
  return {params.workspace, max_parts, round_up(max_parts + params.num_kv_heads, 2)};
}

template <typename Fn>
bool dispatch(const HybridDecodeParams& params, Fn&& fn) {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  if (params.num_kv_heads > kMaxKvHeads || !is_aligned(params.kv)) {
    return false;
  }
  const auto max_shared_bytes =
      static_cast<size_t>(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  bool found = false;
  bool fits = false;
  [[maybe_unused]] const bool listed =
      dispatch_int(static_cast<int>(params.kv.dtype), Dtypes{}, [&](auto dtype) {
        found =
            dispatch_int(
                params.head_dim, HeadDims{},
                [&](auto head_dim) {
                  found = dispatch_int(
                      ceil_div(group_size, kHeadsPerTile), HeadTiles{}, [&](auto tiles) {
                        using Traits =
                            HybridDecodeTraits<static_cast<DType>(dtype()), head_dim(), tiles()>;
                        fits = sizeof(typename Traits::SharedStorage) <= max_shared_bytes;
                        if (fits) {
                          fn(Traits{});
                        }
                      });
                }) &&
            found;
      });
  return found && fits;
}

}  // namespace

int64_t hybrid_decode_num_arrivals(const HybridDecodeParams& params) {
  return int64_t{params.batch} * params.num_q_heads;
}

int64_t hybrid_decode_workspace_bytes(const HybridDecodeParams& params) {
  if (dispatch(params, [](auto) {})) {
    return make_workspace(params, num_multiprocessors()).bytes(params);
  }
  return int64_t{params.batch} * params.num_q_heads * kPlainSplits * (params.head_dim + 2) *
         static_cast<int64_t>(sizeof(float));
}

bool takes_newest_tokens(const HybridDecodeParams& params) {
  return dispatch(params, [](auto) {});
}

void hybrid_decode(const HybridDecodeParams& params, cudaStream_t stream) {
  require_device_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
  const int num_blocks = num_multiprocessors();
  const DecodeWorkspace workspace = make_workspace(params, num_blocks);
  const bool fast = dispatch(params, [&](auto traits) {
    launch_hybrid_decode<decltype(traits)>(params, workspace, num_blocks, stream);
  });
  if (!fast) {
    require(params.newest.k == nullptr, ErrorCode::kInternal,
            "hybrid_decode by plain loops takes no newest tokens");
    launch_plain_decode(params, workspace, stream);
  }
}

}  // namespace lychee::attention::cuda
