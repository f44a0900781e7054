#include "kernels/cpu/gemm.h"

#include <oneapi/dnnl/dnnl.h>

#include "base/check.h"

namespace lychee::cpu {

void gemm(const GemmParams& p) {
  const dnnl_status_t status = dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N',
                                          p.rows, p.columns, p.inner, 1.0F, p.a, p.a_stride, p.b,
                                          p.b_stride, p.accumulate ? 1.0F : 0.0F, p.c, p.c_stride);
  require(status == dnnl_success, ErrorCode::kInternal, "oneDNN cannot multiply ", p.rows, " x ",
          p.inner, " by ", p.columns, ": status ", static_cast<int>(status));
}

}  // namespace lychee::cpu
