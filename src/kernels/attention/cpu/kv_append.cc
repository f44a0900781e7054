#include "kernels/attention/kv_append.h"

#include "kernels/attention/paged_kv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/kv_append.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

#include "kernels/cpu/store_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

template <typename T>
void narrow_row(const float* from, int count, T* to) {
  const hwy::HWY_NAMESPACE::CappedTag<float, 8> d;  // head_dim is a multiple of 8
  for (int i = 0; i < count; i += static_cast<int>(hwy::HWY_NAMESPACE::Lanes(d))) {
    lychee::cpu::HWY_NAMESPACE::store_f32(d, hwy::HWY_NAMESPACE::LoadU(d, from + i), to + i);
  }
}

template <typename T>
void append_token_as(const KvAppendParams& params, int64_t token) {
  for (int64_t head = 0; head < params.num_kv_heads; ++head) {
    const int64_t to = kv_offset(params.kv, params.page_table, params.first_position + token, head);
    const int64_t from = token * params.row_stride + head * params.head_dim;
    narrow_row(params.k + from, params.head_dim, static_cast<T*>(params.kv.k) + to);
    narrow_row(params.v + from, params.head_dim, static_cast<T*>(params.kv.v) + to);
  }
}

void append_token(const KvAppendParams& params, int64_t token) {
  if (params.kv.dtype == DType::kF16) {
    append_token_as<f16>(params, token);
  } else if (params.kv.dtype == DType::kBF16) {
    append_token_as<bf16>(params, token);
  } else {
    append_token_as<float>(params, token);
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(append_token);

void kv_append(const KvAppendParams& params) {
  require_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
#pragma omp parallel for if (params.num_tokens > 1)
  for (int64_t token = 0; token < params.num_tokens; ++token) {
    HWY_DYNAMIC_DISPATCH(append_token)(params, token);
  }
}

}  // namespace lychee::attention::cpu
#endif
