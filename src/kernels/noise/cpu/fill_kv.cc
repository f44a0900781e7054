#include "kernels/noise/fill_kv.h"

#include "kernels/attention/paged_kv.h"

namespace lychee::noise::cpu {

namespace {

void fill_row(const FillKvParams& p, void* base, int64_t offset, uint64_t word) {
  for (int d = 0; d < p.head_dim; d += 2) {
    const uint64_t bits = random_word(p.seed, word++);
    attention::store_kv(p.kv.dtype, base, offset + d, near_normal(static_cast<uint32_t>(bits)));
    attention::store_kv(p.kv.dtype, base, offset + d + 1,
                        near_normal(static_cast<uint32_t>(bits >> 32)));
  }
}

}  // namespace

void fill_kv(const FillKvParams& p) {
  attention::require_kv_dtype(p.kv);
#pragma omp parallel for schedule(static)
  for (int64_t position = p.begin; position < p.end; ++position) {
    for (int head = 0; head < p.num_kv_heads; ++head) {
      const int64_t offset = attention::kv_offset(p.kv, p.page_table, position, head);
      fill_row(p, p.kv.k, offset, first_word(p, position, head, 0));
      fill_row(p, p.kv.v, offset, first_word(p, position, head, 1));
    }
  }
}

}  // namespace lychee::noise::cpu
