#include "kernels/attention/page_summary.h"

#include <algorithm>

#include "base/math.h"
#include "kernels/attention/paged_kv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/page_summary.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

#include "kernels/cpu/load_inl.h"
#include "kernels/cpu/store_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

template <typename T>
void summarize_page_as(const PageSummaryParams& params, int64_t page) {
  namespace hn = hwy::HWY_NAMESPACE;
  using lychee::cpu::HWY_NAMESPACE::load_f32;
  using lychee::cpu::HWY_NAMESPACE::store_f32;
  const hn::CappedTag<float, 8> d;  // head_dim is a multiple of 8
  const int64_t first = page * kBoundPageSize;
  const int64_t count = std::min<int64_t>(kBoundPageSize, params.kv_len - first);
  for (int64_t head = 0; head < params.num_kv_heads; ++head) {
    // A bound page lies within one page of the cache, so its tokens are evenly spaced.
    const T* k =
        static_cast<const T*>(params.kv.k) + kv_offset(params.kv, params.page_table, first, head);
    const int64_t to = kv_offset(params.kv, params.summary_table, page, head);
    for (int64_t i = 0; i < params.head_dim; i += static_cast<int64_t>(hn::Lanes(d))) {
      auto min = load_f32(d, k + i);
      auto max = min;
      for (int64_t token = 1; token < count; ++token) {
        const auto value = load_f32(d, k + token * params.kv.token_stride + i);
        min = hn::Min(min, value);
        max = hn::Max(max, value);
      }
      // Values that were stored before: nothing is rounded.
      store_f32(d, min, static_cast<T*>(params.kv.k) + to + i);
      store_f32(d, max, static_cast<T*>(params.kv.v) + to + i);
    }
  }
}

void summarize_page(const PageSummaryParams& params, int64_t page) {
  if (params.kv.dtype == DType::kF16) {
    summarize_page_as<f16>(params, page);
  } else if (params.kv.dtype == DType::kBF16) {
    summarize_page_as<bf16>(params, page);
  } else {
    summarize_page_as<float>(params, page);
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(summarize_page);

void page_summary(const PageSummaryParams& params) {
  require_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
  const int64_t end = ceil_div<int64_t>(params.kv_len, kBoundPageSize);
#pragma omp parallel for if (end - params.first_page > 1)
  for (int64_t page = params.first_page; page < end; ++page) {
    HWY_DYNAMIC_DISPATCH(summarize_page)(params, page);
  }
}

}  // namespace lychee::attention::cpu
#endif
