#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void hybrid_decode(const HybridDecodeParams& params);
}  // namespace reference

namespace cpu {
// Scratch that cpu::hybrid_decode wants for these params, whatever the number of threads; pointers
// are not read.
[[nodiscard]] int64_t hybrid_decode_workspace_bytes(const HybridDecodeParams& params);
void hybrid_decode(const HybridDecodeParams& params);
}  // namespace cpu

namespace cuda {
// Scratch and counters that cuda::hybrid_decode wants on this device; pointers are not read. Both
// grow with the batch alone, not with lengths.
[[nodiscard]] int64_t hybrid_decode_workspace_bytes(const HybridDecodeParams& params);
[[nodiscard]] int64_t hybrid_decode_num_arrivals(const HybridDecodeParams& params);
// Whether a call may leave NewestTokens to cuda::hybrid_decode: where it takes tensor cores.
[[nodiscard]] bool takes_newest_tokens(const HybridDecodeParams& params);
// One launch; the same bits every run, and for a batch of up to 64 whatever the other rows are.
// Tensor cores, in parts that keep f32's accuracy, for f16, bf16 and fp8 with head_dim 64 or 128,
// up to 16 query heads a group and 32 KV heads; else plain loops, head_dim up to 256. The former
// read a page's rows by 16 bytes: strides that are no multiple of that, and K or V of more than 64
// GiB, are left to the latter. token_ids in ascending order are read fastest.
// A dependent launch (kernels/cuda/dependent_launch.cuh), which does not wait for the kernels
// before it on the stream to read page_tables, kv_lens, set_of_head, emit_scores, scales of kv,
// sets that are early and the rows of K and V before the newest token's. Kernels that let their
// dependents start early must not write them, but for those whose end another operation on the
// stream waits for before.
void hybrid_decode(const HybridDecodeParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
