#include "kernels/attention/cpu/blended_block.h"

#include <algorithm>
#include <limits>

#include "base/math.h"
#include "kernels/attention/cpu/blend_rows.h"
#include "kernels/cpu/gemm.h"

namespace lychee::attention::cpu {

namespace {

constexpr int64_t kBlockQueries = 48;
constexpr int64_t kAlign = 16;  // floats of a cache line

int64_t width_of(const BlendedBlock::Params& p) {
  return round_up(p.context_len + p.num_rows, kAlign);
}

}  // namespace

int64_t BlendedBlock::rows_per_block(const Params& p) {
  return std::max<int64_t>(kBlockQueries / (p.num_q_heads / p.num_kv_heads), 1);
}

int64_t BlendedBlock::num_blocks(const Params& p) {
  return ceil_div(p.num_rows, rows_per_block(p));
}

int64_t BlendedBlock::scratch_floats(const Params& p, int64_t matrices) {
  const int64_t queries = rows_per_block(p) * (p.num_q_heads / p.num_kv_heads);
  return round_up(2 * queries * p.head_dim + width_of(p) * (1 + matrices * queries), kAlign);
}

BlendedBlock::BlendedBlock(const Params& p, int64_t block, int kv_head, float* scratch)
    : p_(p),
      kv_head_(kv_head),
      group_size_(p.num_q_heads / p.num_kv_heads),
      first_row_(block * rows_per_block(p)),
      rows_(std::min(rows_per_block(p), p.num_rows - first_row_)),
      queries_(rows_ * group_size_),
      width_(width_of(p)),
      q_(scratch),
      out_(q_ + queries_ * p.head_dim),
      bias_(out_ + queries_ * p.head_dim),
      matrices_(bias_ + width_) {}

int64_t BlendedBlock::kv_len(int64_t query) const {
  return p_.context_len + first_row_ + query / group_size_ + 1;
}

void BlendedBlock::gather_queries(const float* from, float* to) const {
  const int64_t row_size = int64_t{group_size_} * p_.head_dim;
  for (int64_t r = 0; r < rows_; ++r) {
    const float* row = from + ((first_row_ + r) * p_.num_kv_heads + kv_head_) * row_size;
    std::copy_n(row, row_size, to + r * row_size);
  }
}

void BlendedBlock::scatter_queries(const float* from, float* to) const {
  const int64_t row_size = int64_t{group_size_} * p_.head_dim;
  for (int64_t r = 0; r < rows_; ++r) {
    std::copy_n(from + r * row_size, row_size,
                to + ((first_row_ + r) * p_.num_kv_heads + kv_head_) * row_size);
  }
}

void BlendedBlock::multiply_keys(const float* rows, const float* context, const float* target,
                                 float* product) const {
  const int64_t d = p_.head_dim;
  lychee::cpu::GemmParams gemm{.rows = queries_,
                               .columns = p_.context_len,
                               .inner = d,
                               .a = rows,
                               .a_stride = d,
                               .b = context + kv_head_ * p_.context_stride * d,
                               .b_stride = d,
                               .transpose_b = true,
                               .c = product,
                               .c_stride = width_};
  if (p_.context_len > 0) {
    lychee::cpu::gemm(gemm);
  }
  gemm.columns = num_target_keys();
  gemm.b = target + kv_head_ * d;
  gemm.b_stride = p_.num_kv_heads * d;
  gemm.c = product + p_.context_len;
  lychee::cpu::gemm(gemm);
}

void BlendedBlock::multiply_values(const float* weights, const float* context, const float* target,
                                   float* out) const {
  const int64_t d = p_.head_dim;
  lychee::cpu::GemmParams gemm{.rows = queries_,
                               .columns = d,
                               .inner = p_.context_len,
                               .a = weights,
                               .a_stride = width_,
                               .b = context + kv_head_ * p_.context_stride * d,
                               .b_stride = d,
                               .c = out,
                               .c_stride = d};
  if (p_.context_len > 0) {
    lychee::cpu::gemm(gemm);
    gemm.accumulate = true;
  }
  gemm.inner = num_target_keys();
  gemm.a = weights + p_.context_len;
  gemm.b = target + kv_head_ * d;
  gemm.b_stride = p_.num_kv_heads * d;
  lychee::cpu::gemm(gemm);
}

void BlendedBlock::emit_scores(const float* scores) const {
  if (p_.scores == nullptr || (p_.emit_scores != nullptr && p_.emit_scores[kv_head_] == 0)) {
    return;
  }
  for (int64_t query = 0; query < queries_; ++query) {
    const int64_t row = first_row_ + query / group_size_;
    const int64_t g = query % group_size_;
    const float* from = scores + query * width_;
    if (p_.scores_per_q_head) {
      const int64_t head = int64_t{kv_head_} * group_size_ + g;
      std::copy_n(from, kv_len(query), p_.scores + (head * p_.num_rows + row) * p_.scores_stride);
      continue;
    }
    float* to = p_.scores + (kv_head_ * p_.num_rows + row) * p_.scores_stride;
    const float share = 1.0F / static_cast<float>(group_size_);
    const int64_t n = kv_len(query);
    if (g == 0) {
      std::fill_n(to, n, 0.0F);
    }
    for (int64_t t = 0; t < n; ++t) {
      to[t] += from[t] * share;
    }
  }
}

void BlendedBlock::fill_bias(const RowSets& sets, int64_t row) {
  std::fill_n(bias_, p_.context_len + row + 1, -std::numeric_limits<float>::infinity());
  const int32_t* ids = sets.ids + row * sets.ids_stride;
  for (int32_t i = 0; i < sets.num_ids[row]; ++i) {
    bias_[ids[i]] = 0;
  }
}

void BlendedBlock::find_weights(float* dense, float* sparse, bool with_sets) {
  const int64_t padded = p_.context_len + num_target_keys();
  for (int64_t query = 0; query < queries_; ++query) {
    float* scores = dense + query * width_;
    SoftmaxRow row{.scores = scores,
                   .bias = nullptr,
                   .scale = p_.scale,
                   .n = kv_len(query),
                   .padded = padded,
                   .weights = scores};
    if (with_sets) {
      const int64_t g = query % group_size_;
      if (p_.sets_per_q_head) {
        fill_bias(p_.sets[int64_t{kv_head_} * group_size_ + g], first_row_ + query / group_size_);
      } else if (g == 0) {
        fill_bias(p_.sets[kv_head_], first_row_ + query / group_size_);
      }
      SoftmaxRow part = row;
      part.bias = bias_;
      part.weights = sparse + query * width_;
      softmax_row(part);
    }
    softmax_row(row);
  }
}

void BlendedBlock::forward() {
  float* dense = matrices_;
  float* sparse = matrices_ + queries_ * width_;
  gather_queries(p_.q, q_);
  multiply_keys(q_, p_.context_k, p_.k, dense);
  emit_scores(dense);
  const bool blended = p_.sets != nullptr && p_.z[kv_head_] != 1.0F;
  find_weights(dense, sparse, blended);
  if (blended) {
    for (int64_t query = 0; query < queries_; ++query) {
      blend_row(p_.z[kv_head_], p_.context_len + num_target_keys(), sparse + query * width_,
                dense + query * width_);
    }
  }
  multiply_values(dense, p_.context_v, p_.v, out_);
  scatter_queries(out_, p_.out);
}

double BlendedBlock::backward(const BlendedAttentionBackwardParams<float>& b, float* d_k,
                              float* d_v) {
  float* dense = matrices_;
  float* sparse = dense + queries_ * width_;
  float* d_weights = sparse + queries_ * width_;
  gather_queries(p_.q, q_);
  multiply_keys(q_, p_.context_k, p_.k, dense);
  // A head at z = 1 is not blended, but its gradient compares both outputs all the same.
  const bool with_sets = p_.sets != nullptr;
  find_weights(dense, sparse, with_sets);
  gather_queries(b.d_out, out_);
  multiply_keys(out_, p_.context_v, p_.v, d_weights);
  double d_z = 0;
  for (int64_t query = 0; query < queries_; ++query) {
    d_z += blend_row_backward({.z = with_sets ? p_.z[kv_head_] : 1.0F,
                               .scale = p_.scale,
                               .count = p_.context_len + num_target_keys(),
                               .dense = dense + query * width_,
                               .sparse = with_sets ? sparse + query * width_ : nullptr,
                               .d_weights = d_weights + query * width_});
  }
  const auto reduce = [&](const float* matrix, const float* rows, float* out) {
    lychee::cpu::gemm({.rows = num_target_keys(),
                       .columns = p_.head_dim,
                       .inner = queries_,
                       .a = matrix + p_.context_len,
                       .a_stride = width_,
                       .transpose_a = true,
                       .b = rows,
                       .b_stride = p_.head_dim,
                       .c = out,
                       .c_stride = p_.head_dim});
  };
  reduce(d_weights, q_, d_k);
  reduce(dense, out_, d_v);
  multiply_values(d_weights, p_.context_k, p_.k, out_);
  scatter_queries(out_, b.d_q);
  return d_z;
}

}  // namespace lychee::attention::cpu
