#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "model/weights.h"
#include "training/backend.h"

namespace lychee::training {

// The weights where load_weights left them; `weights` must outlive the views.
[[nodiscard]] FrozenWeights view_weights(const model::ModelWeights& weights);

// What backends in host memory have in common: the CPU's and, in tests, the reference in double.
// Every call is done when it returns.
template <typename Real>
class HostBackend : public Backend<Real> {
 public:
  // `weights` must outlive it.
  explicit HostBackend(const model::ModelWeights& weights)
      : embedding_(weights.embedding), weights_(view_weights(weights)) {}

  [[nodiscard]] const FrozenWeights& weights() const override { return weights_; }
  [[nodiscard]] RowChunks chunks() const override { return {}; }
  void wait() override {}

  void copy(Real* to, const Real* from, int64_t count) override { std::copy_n(from, count, to); }
  void zero(Real* to, int64_t count) override { std::fill_n(to, count, Real{0}); }
  void embed(const int32_t* token_ids, int64_t num_rows, Real* x) override {
    const int64_t hidden = embedding_.shape[1];
    const int64_t row_bytes = dtype_bytes(embedding_.dtype, hidden);
    std::vector<float> row(static_cast<size_t>(hidden));
    for (int64_t r = 0; r < num_rows; ++r) {
      linear::dequantize(embedding_.dtype, embedding_.data + token_ids[r] * row_bytes, hidden,
                         row.data());
      std::copy(row.begin(), row.end(), x + r * hidden);
    }
  }
  void gather(const rows::PickParams<Real>& p) override {
    for (int64_t r = 0; r < p.num_rows; ++r) {
      std::copy_n(p.from + p.row_ids[r] * p.dim, p.dim, p.to + r * p.dim);
    }
  }
  void scatter(const rows::PickParams<Real>& p) override {
    for (int64_t r = 0; r < p.num_rows; ++r) {
      std::copy_n(p.from + r * p.dim, p.dim, p.to + p.row_ids[r] * p.dim);
    }
  }
  void append(const rows::AppendParams<Real>& p) override {
    for (int64_t row = 0; row < p.num_rows; ++row) {
      for (int64_t head = 0; head < p.num_kv_heads; ++head) {
        std::copy_n(p.rows + (row * p.num_kv_heads + head) * p.head_dim, p.head_dim,
                    p.context + (head * p.context_stride + p.first_row + row) * p.head_dim);
      }
    }
  }
  void hidden_mean_square(const loss::LogitLossParams<Real>& p) override {
    const double slope = 2 / static_cast<double>(p.vocab_size) * p.scale;
    for (int64_t r = 0; r < p.num_rows; ++r) {
      double sum = 0;
      for (int64_t i = r * p.vocab_size; i < (r + 1) * p.vocab_size; ++i) {
        const double difference =
            static_cast<double>(p.student[i]) - static_cast<double>(p.teacher[i]);
        sum += difference * difference;
        p.student[i] = static_cast<Real>(slope * difference);
      }
      p.loss[r] = sum / static_cast<double>(p.vocab_size);
    }
  }

 protected:
  [[nodiscard]] void* allocate(Memory& memory, int64_t bytes) override {
    return memory.template emplace<Buffer>(bytes).data();
  }
  void send_bytes(void* to, const void* host, int64_t bytes) override {
    std::memcpy(to, host, static_cast<size_t>(bytes));
  }
  void fetch_bytes(void* host, const void* from, int64_t bytes) override {
    std::memcpy(host, from, static_cast<size_t>(bytes));
  }

 private:
  TensorView embedding_;
  FrozenWeights weights_;
};

}  // namespace lychee::training
