#pragma once

#include "kernels/attention/params.h"

namespace lychee::attention {

namespace reference {
// Double precision, two passes, no blocking; ignores the workspace. Tests only.
void page_summary(const PageSummaryParams& params);
}  // namespace reference

namespace cpu {
void page_summary(const PageSummaryParams& params);
}  // namespace cpu

}  // namespace lychee::attention
