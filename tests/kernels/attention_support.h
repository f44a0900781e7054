#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/attention/params.h"
#include "support/device_mirror.h"
#include "support/random.h"
#include "support/simd_targets.h"

namespace lychee::attention {

// Who computes: cpu:: with one instruction set, or cuda::.
struct Backend {
  std::string name;
  int64_t simd_target = 0;
  bool cuda = false;
};
// Every instruction set of this CPU, and CUDA where there is a GPU for it.
[[nodiscard]] std::vector<Backend> backends();
[[nodiscard]] std::vector<Backend> cuda_backends();
void PrintTo(const Backend& backend, std::ostream* out);

// A prompt's tokens from `first_position` on, of a test over backends and dtypes.
struct PromptCase {
  const char* name;
  int64_t first_position;
  int num_tokens, num_q_heads, num_kv_heads, head_dim;
  int64_t stride_padding = 0;
};
void PrintTo(const PromptCase& c, std::ostream* out);

// <backend>_<dtype>_<case>.
template <typename Case>
[[nodiscard]] std::string case_name(
    const testing::TestParamInfo<std::tuple<Backend, DType, Case>>& info) {
  const auto& [backend, dtype, c] = info.param;
  return backend.name + '_' + std::string(dtype_info(dtype).name) + '_' + c.name;
}

// CPU kernels dispatch to the backend's instruction set while this lives.
class BackendScope {
 public:
  explicit BackendScope(const Backend& backend) {
    if (!backend.cuda) {
      scope_.emplace(backend.simd_target);
    }
  }

 private:
  std::optional<test::SimdTargetScope> scope_;
};

// A cache that holds sequences of the given lengths in shuffled pages. Everything that no token
// owns is NaN: the rest of the last pages, two spare pages, and the gaps of padded strides. Page
// tables end in INT32_MAX entries.
class PagedCache {
 public:
  PagedCache(DType dtype, int num_kv_heads, int head_dim, const std::vector<int64_t>& kv_lens,
             int64_t stride_padding, test::Random& random);

  [[nodiscard]] PagedKv view() { return view_; }
  // The same on the device, copied back by the mirror's finish().
  [[nodiscard]] PagedKv view_on(test::DeviceMirror& mirror);
  [[nodiscard]] const int32_t* page_tables() const { return page_tables_.data(); }
  [[nodiscard]] const int32_t* page_table(int64_t row) const {
    return page_tables_.data() + row * page_table_stride_;
  }
  [[nodiscard]] int64_t page_table_stride() const { return page_table_stride_; }
  [[nodiscard]] const int32_t* page_tables_on(test::DeviceMirror& mirror) const {
    return mirror.input(page_tables_);
  }
  [[nodiscard]] const std::vector<std::byte>& k_bytes() const { return k_; }
  [[nodiscard]] const std::vector<std::byte>& v_bytes() const { return v_; }

 private:
  std::vector<std::byte> k_;
  std::vector<std::byte> v_;
  std::vector<int32_t> page_tables_;
  std::vector<float> k_scales_;  // kF8E4M3 only
  std::vector<float> v_scales_;
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
