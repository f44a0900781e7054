#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/attention/params.h"
#include "support/random.h"

namespace lychee::attention {

// A cache that holds sequences of the given lengths in shuffled pages. Everything that no token
// owns is NaN: the rest of the last pages, two spare pages, and the gaps of padded strides. Page
// tables end in INT32_MAX entries.
class PagedCache {
 public:
  PagedCache(DType dtype, int num_kv_heads, int head_dim, const std::vector<int64_t>& kv_lens,
             int64_t stride_padding, test::Random& random);

  [[nodiscard]] PagedKv view() { return view_; }
  [[nodiscard]] const int32_t* page_tables() const { return page_tables_.data(); }
  [[nodiscard]] const int32_t* page_table(int64_t row) const {
    return page_tables_.data() + row * page_table_stride_;
  }
  [[nodiscard]] int64_t page_table_stride() const { return page_table_stride_; }
  [[nodiscard]] const std::vector<std::byte>& k_bytes() const { return k_; }
  [[nodiscard]] const std::vector<std::byte>& v_bytes() const { return v_; }

 private:
  std::vector<std::byte> k_;
  std::vector<std::byte> v_;
  std::vector<int32_t> page_tables_;
  int64_t page_table_stride_;
  PagedKv view_;
};

// One query over `positions` with f32 arithmetic, straight from the formula: what the tolerance of
// a kernel is measured by. Returns the log of the softmax sum.
float plain_attention(const float* q, const PagedKv& kv, const int32_t* page_table, int64_t kv_head,
                      const std::vector<int64_t>& positions, int head_dim, float scale, float* out);

// f32 sum of the products of mean(q of the group) and k.
float plain_score(const float* q, int group_size, const PagedKv& kv, const int32_t* page_table,
                  int64_t kv_head, int64_t position, int head_dim);

}  // namespace lychee::attention
