#pragma once

#include "kernels/attention/params.h"

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void kv_append(const KvAppendParams& params);
}  // namespace reference

namespace cpu {
void kv_append(const KvAppendParams& params);
}  // namespace cpu

}  // namespace lychee::attention
