#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

// Small steps around selection that the CPU backend does on the host.
namespace lychee::attention::cuda {

void write_streaming_sets(const StreamingSetParams& params, CUstream_st* stream);
void sum_scores(const SumScoresParams& params, CUstream_st* stream);

}  // namespace lychee::attention::cuda
