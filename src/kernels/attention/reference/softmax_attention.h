#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention/params.h"

namespace lychee::attention::reference {

// One KV head of one sequence.
struct KvHead {
  const PagedKv& kv;
  const int32_t* page_table;
  int64_t head;
};

[[nodiscard]] double dot(const double* q, const KvHead& kv_head, int64_t position, int head_dim);

// out = softmax(q · K · scale) · V over `positions`; returns the natural log of the softmax sum,
// -inf (and zeros) for no positions.
double softmax_attention(const double* q, const KvHead& kv_head,
                         const std::vector<int64_t>& positions, int head_dim, double scale,
                         float* out);

}  // namespace lychee::attention::reference
