#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void kv_append(const KvAppendParams& params);
}  // namespace reference

namespace cpu {
void kv_append(const KvAppendParams& params);
}  // namespace cpu

namespace cuda {
void kv_append(const KvAppendParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
