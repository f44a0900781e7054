#pragma once

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void page_summary(const PageSummaryParams& params);
}  // namespace reference

namespace cpu {
void page_summary(const PageSummaryParams& params);
}  // namespace cpu

namespace cuda {
void page_summary(const PageSummaryParams& params, CUstream_st* stream);
void page_summary_rows(const PageSummaryRowsParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::attention
