#include "kernels/attention/rotate_append.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention/paged_kv.h"

namespace lychee::attention::reference {

namespace {

constexpr double kLargestF16 = 65504;

template <typename T>
double rotated(const T* head, const float* table, int head_dim, int dim) {
  const int half = head_dim / 2;
  const int i = dim % half;
  const double cosine = table[i];
  const double sine = table[half + i];
  const double first = head[i];
  const double second = head[half + i];
  return dim < half ? first * cosine - second * sine : second * cosine + first * sine;
}

// A head, normalized unless `weight` is null, then rotated.
std::vector<double> prepared(const float* head, const float* weight, double eps, const float* table,
                             int head_dim) {
  std::vector<double> x(head, head + head_dim);
  if (weight != nullptr) {
    double squares = 0;
    for (const double value : x) {
      squares += value * value;
    }
    const double factor = 1 / std::sqrt(squares / head_dim + eps);
    for (int dim = 0; dim < head_dim; ++dim) {
      x[static_cast<size_t>(dim)] *= factor * double{weight[dim]};
    }
  }
  std::vector<double> y;
  y.reserve(x.size());
  for (int dim = 0; dim < head_dim; ++dim) {
    y.push_back(rotated(x.data(), table, head_dim, dim));
  }
  return y;
}

}  // namespace

void rotate_append(const RotateAppendParams& p) {
  for (int64_t token = 0; token < p.num_tokens; ++token) {
    const float* table = p.rope_table + token * p.head_dim;
    for (int64_t head = 0; head < p.num_q_heads; ++head) {
      const float* q = p.q + token * p.row_stride + head * p.head_dim;
      for (int dim = 0; dim < p.head_dim; ++dim) {
        const double value = rotated(q, table, p.head_dim, dim);
        store_kv(p.q_dtype, p.q_out, (token * p.num_q_heads + head) * p.head_dim + dim,
                 static_cast<float>(p.q_dtype == DType::kF16
                                        ? std::clamp(value, -kLargestF16, kLargestF16)
                                        : value));
      }
    }
    for (int64_t head = 0; head < p.num_kv_heads; ++head) {
      const int64_t from = token * p.row_stride + head * p.head_dim;
      const int64_t to = kv_offset(p.kv, p.page_table, p.first_position + token, head);
      for (int dim = 0; dim < p.head_dim; ++dim) {
        const double k = rotated(p.k + from, table, p.head_dim, dim);
        store_kv(p.kv.dtype, p.kv.k, to + dim,
                 static_cast<float>(k / kv_scale(p.kv.k_scales, head)));
        store_kv(p.kv.dtype, p.kv.v, to + dim, p.v[from + dim] / kv_scale(p.kv.v_scales, head));
      }
    }
  }
}

void rotate_append_rows(const RotateAppendRowsParams& p) {
  for (int64_t row = 0; row < p.batch; ++row) {
    const float* table = p.newest.rope_table + row * p.head_dim;
    for (int64_t head = 0; head < p.num_q_heads; ++head) {
      float* q = p.q + row * p.q_stride + head * p.head_dim;
      const std::vector<double> values =
          prepared(q, p.newest.q_norm, p.newest.norm_eps, table, p.head_dim);
      std::transform(values.begin(), values.end(), q,
                     [](double value) { return static_cast<float>(value); });
    }
    for (int64_t head = 0; head < p.num_kv_heads; ++head) {
      const int64_t from = row * p.newest.kv_stride + head * p.head_dim;
      const int64_t to =
          kv_offset(p.kv, p.page_tables + row * p.page_table_stride, p.kv_lens[row] - 1, head);
      const std::vector<double> k =
          prepared(p.newest.k + from, p.newest.k_norm, p.newest.norm_eps, table, p.head_dim);
      for (int dim = 0; dim < p.head_dim; ++dim) {
        store_kv(p.kv.dtype, p.kv.k, to + dim,
                 static_cast<float>(k[static_cast<size_t>(dim)] / kv_scale(p.kv.k_scales, head)));
        store_kv(p.kv.dtype, p.kv.v, to + dim,
                 p.newest.v[from + dim] / kv_scale(p.kv.v_scales, head));
      }
    }
  }
}

}  // namespace lychee::attention::reference
