// Compiled in place of the other files in this folder when the build has no CUDA compiler.
#include "base/check.h"
#include "kernels/attention/blended_attention.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/kv_scales.h"
#include "kernels/attention/page_bound.h"
#include "kernels/attention/page_summary.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/attention/rotate_append.h"
#include "kernels/attention/score_sets.h"
#include "kernels/attention/select_tokens.h"

namespace lychee::attention::cuda {

namespace {

[[noreturn]] void refuse(const char* op) {
  fail(ErrorCode::kUnsupported, op, ": this build has no CUDA support");
}

}  // namespace

int64_t hybrid_decode_workspace_bytes(const HybridDecodeParams& /*params*/) {
  refuse("hybrid_decode");
}
int64_t hybrid_decode_num_arrivals(const HybridDecodeParams& /*params*/) {
  refuse("hybrid_decode");
}
bool takes_newest_tokens(const HybridDecodeParams& /*params*/) {
  refuse("hybrid_decode");
}
void hybrid_decode(const HybridDecodeParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("hybrid_decode");
}

int64_t select_tokens_workspace_bytes(const SelectTokensParams& /*params*/) {
  refuse("select_tokens");
}
void select_tokens(const SelectTokensParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("select_tokens");
}

void kv_append(const KvAppendParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("kv_append");
}

void kv_scales(const KvScalesParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("kv_scales");
}

void rotate_append(const RotateAppendParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("rotate_append");
}
void rotate_append_rows(const RotateAppendRowsParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("rotate_append_rows");
}

void page_summary(const PageSummaryParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("page_summary");
}
void page_summary_rows(const PageSummaryRowsParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("page_summary_rows");
}
int64_t page_bound_workspace_bytes(const PageBoundParams& /*params*/) {
  refuse("page_bound");
}
void page_bound(const PageBoundParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("page_bound");
}

int64_t prefill_attention_workspace_bytes(const PrefillAttentionParams& /*params*/) {
  refuse("prefill_attention");
}
void prefill_attention(const PrefillAttentionParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("prefill_attention");
}

int64_t blended_attention_workspace_bytes(const BlendedAttentionParams<float>& /*params*/) {
  refuse("blended_attention");
}
void blended_attention(const BlendedAttentionParams<float>& /*params*/, CUstream_st* /*stream*/) {
  refuse("blended_attention");
}
int64_t blended_attention_backward_workspace_bytes(
    const BlendedAttentionBackwardParams<float>& /*params*/) {
  refuse("blended_attention_backward");
}
void blended_attention_backward(const BlendedAttentionBackwardParams<float>& /*params*/,
                                CUstream_st* /*stream*/) {
  refuse("blended_attention_backward");
}

void write_streaming_sets(const StreamingSetParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("write_streaming_sets");
}
void sum_scores(const SumScoresParams& /*params*/, CUstream_st* /*stream*/) {
  refuse("sum_scores");
}

}  // namespace lychee::attention::cuda
