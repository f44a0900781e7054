#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

// Small steps around selection that the CPU backend does on the host.
namespace cuda {
void write_streaming_sets(const StreamingSetParams& params, CUstream_st* stream);
void sum_scores(const SumScoresParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
