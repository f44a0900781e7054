#pragma once

#include <cuda_runtime_api.h>

#include "kernels/attention/cuda/blended_attention/traits.h"
#include "kernels/attention/cuda/blended_attention/view.h"

namespace lychee::attention::cuda {

// With mma.sync: any GPU.
template <int kDim, int kParts>
struct PortableBlocks;
// With wgmma: code for compute capability 9.0a.
template <int kDim>
struct WarpgroupBlocks;

// Defined in launch.cuh, compiled once per instantiations/*.cu. Blocks is one of the above.
template <typename Blocks>
struct BlendedLaunch {
  static void statistics(const BlendedView& view, bool backward, cudaStream_t stream);
  static void apply(const BlendedView& view, bool backward, cudaStream_t stream);
  static void dense(const BlendedView& view, cudaStream_t stream);
  static void scores(const BlendedView& view, const ScoresOutput& output, cudaStream_t stream);
};

template <int kDim, int kParts>
struct TargetGradientsLaunch {
  static void run(const BlendedView& view, cudaStream_t stream);
};

// Rows of f32 on their way into planes: per head, those of a constant context, then rows of which
// group_size belong to a head.
struct PlaneSource {
  const float* context;  // [num_heads, context_stride, head_dim]
  int64_t context_len, context_stride;
  const float* rows;  // [count / group_size, num_heads, group_size, head_dim]
  int64_t count;      // of rows of a head, without the context
  int num_heads, group_size, head_dim;
};
// Fills [parts, num_heads, padded_rows, dim].
void split_planes(const PlaneSource& source, int64_t padded_rows, int dim, int parts,
                  __nv_bfloat16* planes, cudaStream_t stream);
// The same of the mean of each group: count / group_size rows a head.
void split_mean_planes(const PlaneSource& source, int64_t padded_rows, int dim, int parts,
                       __nv_bfloat16* planes, cudaStream_t stream);

// Fills bits[num_sets, num_rows, bit_words] from `sets`, which the host reads.
void mark_members(const RowSets* sets, int num_sets, int num_rows, int bit_words, uint32_t* bits,
                  cudaStream_t stream);

// Turns the statistics of all splits into `weights`, with `backward` into `d_z` too.
void weigh_rows(const BlendedView& view, bool backward, cudaStream_t stream);
// Adds what the queries of each KV head hold: d_z[num_kv_heads].
void sum_d_z(const BlendedView& view, double* d_z, cudaStream_t stream);
// Adds parts[num_parts, count] into sum[count].
void sum_parts(const float* parts, int num_parts, int64_t count, float* sum, cudaStream_t stream);

}  // namespace lychee::attention::cuda
