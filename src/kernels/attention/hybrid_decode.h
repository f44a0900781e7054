#pragma once

#include "kernels/attention/params.h"

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

}  // namespace lychee::attention
