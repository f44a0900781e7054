#include "kernels/attention/blended_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace lychee::attention::reference {
namespace {

using Params = BlendedAttentionParams<double>;
using Values = std::vector<double>;

// One query head of one row.
class QueryRow {
 public:
  QueryRow(const Params& p, int64_t row, int q_head)
      : p_(p), row_(row), q_head_(q_head), kv_head_(q_head / (p.num_q_heads / p.num_kv_heads)) {}

  [[nodiscard]] int64_t kv_len() const { return p_.context_len + row_ + 1; }
  [[nodiscard]] int kv_head() const { return kv_head_; }
  [[nodiscard]] double z() const { return p_.sets == nullptr ? 1 : p_.z[kv_head_]; }
  [[nodiscard]] int64_t q_offset() const { return (row_ * p_.num_q_heads + q_head_) * p_.head_dim; }
  // Of a target row's K and V.
  [[nodiscard]] int64_t target_offset(int64_t position) const {
    return ((position - p_.context_len) * p_.num_kv_heads + kv_head_) * p_.head_dim;
  }
  [[nodiscard]] const double* k(int64_t position) const {
    return key_or_value(position, p_.context_k, p_.k);
  }
  [[nodiscard]] const double* v(int64_t position) const {
    return key_or_value(position, p_.context_v, p_.v);
  }
  [[nodiscard]] double dot(const double* a, const double* b) const {
    return std::inner_product(a, a + p_.head_dim, b, 0.0);
  }
  [[nodiscard]] double score(int64_t position) const { return dot(p_.q + q_offset(), k(position)); }

  // Softmax weights over all tokens; 0 outside the set when `sparse`.
  [[nodiscard]] Values weights(bool sparse) const {
    Values weights(static_cast<size_t>(kv_len()), 0.0);
    const std::vector<int64_t> tokens = positions(sparse);
    double max = -std::numeric_limits<double>::infinity();
    for (const int64_t t : tokens) {
      max = std::max(max, score(t) * p_.scale);
    }
    double sum = 0;
    for (const int64_t t : tokens) {
      weights[static_cast<size_t>(t)] = std::exp(score(t) * p_.scale - max);
      sum += weights[static_cast<size_t>(t)];
    }
    for (double& weight : weights) {
      weight /= sum;
    }
    return weights;
  }

 private:
  [[nodiscard]] const double* key_or_value(int64_t position, const double* context,
                                           const double* target) const {
    return position < p_.context_len
               ? context + (kv_head_ * p_.context_stride + position) * p_.head_dim
               : target + target_offset(position);
  }
  [[nodiscard]] std::vector<int64_t> positions(bool sparse) const {
    if (sparse && p_.sets != nullptr) {
      const RowSets& sets = p_.sets[p_.sets_per_q_head ? q_head_ : kv_head_];
      const int32_t* ids = sets.ids + row_ * sets.ids_stride;
      return {ids, ids + sets.num_ids[row_]};
    }
    std::vector<int64_t> all(static_cast<size_t>(kv_len()));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }

  const Params& p_;
  int64_t row_;
  int q_head_;
  int kv_head_;
};

void emit_scores(const Params& p, int64_t row, int kv_head) {
  if (p.emit_scores != nullptr && p.emit_scores[kv_head] == 0) {
    return;
  }
  const int group_size = p.num_q_heads / p.num_kv_heads;
  for (int64_t t = 0; t < p.context_len + row + 1; ++t) {
    double sum = 0;
    for (int g = 0; g < group_size; ++g) {
      const int q_head = kv_head * group_size + g;
      const double score = QueryRow(p, row, q_head).score(t);
      sum += score;
      if (p.scores_per_q_head) {
        p.scores[(q_head * p.num_rows + row) * p.scores_stride + t] = static_cast<float>(score);
      }
    }
    if (!p.scores_per_q_head) {
      p.scores[(kv_head * p.num_rows + row) * p.scores_stride + t] =
          static_cast<float>(sum / group_size);
    }
  }
}

}  // namespace

void blended_attention(const Params& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int h = 0; h < p.num_q_heads; ++h) {
      const QueryRow row(p, r, h);
      const Values dense = row.weights(false);
      const Values sparse = row.weights(true);
      double* out = p.out + row.q_offset();
      std::fill_n(out, p.head_dim, 0.0);
      for (int64_t t = 0; t < row.kv_len(); ++t) {
        const auto i = static_cast<size_t>(t);
        const double weight = row.z() * dense[i] + (1 - row.z()) * sparse[i];
        for (int d = 0; d < p.head_dim; ++d) {
          out[d] += weight * row.v(t)[d];
        }
      }
    }
    for (int h = 0; h < p.num_kv_heads && p.scores != nullptr; ++h) {
      emit_scores(p, r, h);
    }
  }
}

void blended_attention_backward(const BlendedAttentionBackwardParams<double>& b) {
  const Params& p = b.forward;
  std::fill_n(b.d_q, p.num_rows * p.num_q_heads * p.head_dim, 0.0);
  std::fill_n(b.d_k, p.num_rows * p.num_kv_heads * p.head_dim, 0.0);
  std::fill_n(b.d_v, p.num_rows * p.num_kv_heads * p.head_dim, 0.0);
  std::fill_n(b.d_z, p.num_kv_heads, 0.0);
  for (int64_t r = 0; r < p.num_rows; ++r) {
    for (int h = 0; h < p.num_q_heads; ++h) {
      const QueryRow row(p, r, h);
      const Values dense = row.weights(false);
      const Values sparse = row.weights(true);
      const double* d_out = b.d_out + row.q_offset();
      double dense_mean = 0;
      double sparse_mean = 0;
      for (int64_t t = 0; t < row.kv_len(); ++t) {
        const double d_weight = row.dot(d_out, row.v(t));
        dense_mean += dense[static_cast<size_t>(t)] * d_weight;
        sparse_mean += sparse[static_cast<size_t>(t)] * d_weight;
      }
      b.d_z[row.kv_head()] += dense_mean - sparse_mean;
      for (int64_t t = 0; t < row.kv_len(); ++t) {
        const double full = row.z() * dense[static_cast<size_t>(t)];
        const double part = (1 - row.z()) * sparse[static_cast<size_t>(t)];
        const double d_weight = row.dot(d_out, row.v(t));
        const double d_score =
            p.scale * (full * (d_weight - dense_mean) + part * (d_weight - sparse_mean));
        for (int d = 0; d < p.head_dim; ++d) {
          b.d_q[row.q_offset() + d] += d_score * row.k(t)[d];
          if (t >= p.context_len) {
            b.d_k[row.target_offset(t) + d] += d_score * p.q[row.q_offset() + d];
            b.d_v[row.target_offset(t) + d] += (full + part) * d_out[d];
          }
        }
      }
    }
  }
}

}  // namespace lychee::attention::reference
