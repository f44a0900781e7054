#pragma once

#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/cuda/blended_attention/apply.cuh"
#include "kernels/attention/cuda/blended_attention/dense.cuh"
#include "kernels/attention/cuda/blended_attention/launch.h"
#include "kernels/attention/cuda/blended_attention/query_block.cuh"
#include "kernels/attention/cuda/blended_attention/scores.cuh"
#include "kernels/attention/cuda/blended_attention/statistics.cuh"
#include "kernels/attention/cuda/blended_attention/target_gradients.cuh"
#include "kernels/attention/cuda/blended_attention/warpgroup_block.cuh"
#include "tensor/cuda/check.h"
#include "tensor/cuda/device_attribute.h"

namespace lychee::attention::cuda {

// The blocks of each kind of kernel.
template <int kDim, int kParts>
struct PortableBlocks {
  template <bool kBackward, bool kReadsV>
  using Block = QueryBlock<BlendedTraits<kDim, kParts>, kBackward, kReadsV>;
};
template <int kDim>
struct WarpgroupBlocks {
  template <bool kBackward, bool kReadsV>
  using Block = WarpgroupBlock<kDim, kBackward, kReadsV>;
};

template <typename... Params>
void launch_blended(void (*kernel)(Params...), dim3 grid, int threads, int shared_bytes,
                    cudaStream_t stream, const std::type_identity_t<Params>&... params) {
  const int most = device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  require(shared_bytes <= most, ErrorCode::kUnsupported,
          "exact blended attention of this head_dim ", "takes ", shared_bytes,
          " bytes of shared memory; this GPU has ", most,
          " a block: leave `exact` off or use --device cpu");
  cuda_check(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
  launch_dependent(kernel, grid, dim3(static_cast<unsigned>(threads)),
                   static_cast<size_t>(shared_bytes), stream, params...);
}

// One block for each tile of queries, KV head and split.
template <typename Block, typename... Params>
void launch_query_blocks(void (*kernel)(BlendedView, Params...), const BlendedView& view,
                         cudaStream_t stream, const std::type_identity_t<Params>&... params) {
  const dim3 grid(static_cast<unsigned>(ceil_div(view.num_queries, Block::kQueries)),
                  static_cast<unsigned>(view.num_kv_heads), static_cast<unsigned>(view.num_splits));
  launch_blended(kernel, grid, Block::kNumThreads, Block::kSharedBytes, stream, view, params...);
}

template <typename Blocks>
void BlendedLaunch<Blocks>::statistics(const BlendedView& view, bool backward,
                                       cudaStream_t stream) {
  if (backward) {
    using Block = typename Blocks::template Block<true, true>;
    launch_query_blocks<Block>(blended_statistics_kernel<Block, true>, view, stream);
  } else {
    using Block = typename Blocks::template Block<false, false>;
    launch_query_blocks<Block>(blended_statistics_kernel<Block, false>, view, stream);
  }
}

template <typename Blocks>
void BlendedLaunch<Blocks>::apply(const BlendedView& view, bool backward, cudaStream_t stream) {
  if (backward) {
    using Block = typename Blocks::template Block<true, true>;
    launch_query_blocks<Block>(blended_apply_kernel<Block, true>, view, stream);
  } else {
    using Block = typename Blocks::template Block<false, true>;
    launch_query_blocks<Block>(blended_apply_kernel<Block, false>, view, stream);
  }
}

template <typename Blocks>
void BlendedLaunch<Blocks>::dense(const BlendedView& view, cudaStream_t stream) {
  using Block = typename Blocks::template Block<false, true>;
  launch_query_blocks<Block>(blended_dense_kernel<Block>, view, stream);
}

template <typename Blocks>
void BlendedLaunch<Blocks>::scores(const BlendedView& view, const ScoresOutput& output,
                                   cudaStream_t stream) {
  using Block = typename Blocks::template Block<false, false>;
  launch_query_blocks<Block>(blended_scores_kernel<Block>, view, stream, output);
}

template <int kDim, int kParts>
void TargetGradientsLaunch<kDim, kParts>::run(const BlendedView& view, cudaStream_t stream) {
  using Traits = BlendedTraits<kDim, kParts>;
  const dim3 grid(static_cast<unsigned>(ceil_div(view.num_rows, Traits::kTargetTokens)),
                  static_cast<unsigned>(view.num_kv_heads),
                  static_cast<unsigned>(view.num_target_splits));
  launch_blended(blended_target_gradients_kernel<Traits>, grid, Traits::kTargetThreads,
                 static_cast<int>(sizeof(TargetGradientsStorage<Traits>)), stream, view);
}

}  // namespace lychee::attention::cuda
