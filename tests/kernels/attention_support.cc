#include "kernels/attention_support.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/math.h"
#include "kernels/attention/paged_kv.h"
#include "tensor/device.h"

namespace lychee::attention {

std::vector<Backend> cuda_backends() {
  return cuda_available() ? std::vector<Backend>{{"cuda", 0, true}} : std::vector<Backend>{};
}

std::vector<Backend> backends() {
  std::vector<Backend> all = cuda_backends();
  for (const int64_t target : test::simd_targets()) {
    all.push_back({test::simd_target_name(target), target, false});
  }
  return all;
}

void PrintTo(const Backend& backend, std::ostream* out) {
  *out << backend.name;
}

void PrintTo(const PromptCase& c, std::ostream* out) {
  *out << c.name;
}

PagedKv PagedCache::view_on(test::DeviceMirror& mirror) {
  PagedKv device = view_;
  device.k = mirror.output(k_);
  device.v = mirror.output(v_);
  device.k_scales = mirror.input(view_.k_scales, static_cast<int64_t>(k_scales_.size()));
  device.v_scales = mirror.input(view_.v_scales, static_cast<int64_t>(v_scales_.size()));
  return device;
}

PagedCache::PagedCache(DType dtype, int num_kv_heads, int head_dim,
                       const std::vector<int64_t>& kv_lens, int64_t stride_padding,
                       test::Random& random) {
  const int64_t token_stride = head_dim + stride_padding;
  const int64_t head_stride = kPageSize * token_stride + stride_padding;
  const int64_t page_stride = num_kv_heads * head_stride + stride_padding;
  const auto pages_of = [](int64_t kv_len) { return ceil_div<int64_t>(kv_len, kPageSize); };
  int64_t num_pages = 2;
  page_table_stride_ = 1;
  for (const int64_t kv_len : kv_lens) {
    num_pages += pages_of(kv_len);
    page_table_stride_ = std::max(page_table_stride_, pages_of(kv_len) + 1);
  }
  std::vector<int32_t> pages(static_cast<size_t>(num_pages));
  std::iota(pages.begin(), pages.end(), 0);
  random.shuffle(pages);
  const int64_t count = num_pages * page_stride;
  k_.resize(static_cast<size_t>(dtype_bytes(dtype, count)));
  v_.resize(k_.size());
  view_ = {dtype, k_.data(), v_.data(), page_stride, head_stride, token_stride};
  if (dtype == DType::kF8E4M3) {
    for (int head = 0; head < num_kv_heads; ++head) {
      k_scales_.push_back(random.uniform(0.2F, 1.5F));
      v_scales_.push_back(random.uniform(0.2F, 1.5F));
    }
    view_.k_scales = k_scales_.data();
    view_.v_scales = v_scales_.data();
  }
  for (int64_t i = 0; i < count; ++i) {
    store_kv(dtype, view_.k, i, std::numeric_limits<float>::quiet_NaN());
    store_kv(dtype, view_.v, i, std::numeric_limits<float>::quiet_NaN());
  }
  page_tables_.assign(kv_lens.size() * static_cast<size_t>(page_table_stride_),
                      std::numeric_limits<int32_t>::max());
  auto next_page = pages.begin();
  for (size_t row = 0; row < kv_lens.size(); ++row) {
    int32_t* table = page_tables_.data() + static_cast<int64_t>(row) * page_table_stride_;
    std::copy_n(next_page, pages_of(kv_lens[row]), table);
    next_page += pages_of(kv_lens[row]);
    for (int64_t position = 0; position < kv_lens[row]; ++position) {
      for (int head = 0; head < num_kv_heads; ++head) {
        const int64_t offset = kv_offset(view_, table, position, head);
        for (int d = 0; d < head_dim; ++d) {
          store_kv(dtype, view_.k, offset + d, random.normal());
          store_kv(dtype, view_.v, offset + d, random.normal());
        }
      }
    }
  }
}

float plain_attention(const float* q, const PagedKv& kv, const int32_t* page_table, int64_t kv_head,
                      const std::vector<int64_t>& positions, int head_dim, float scale,
                      float* out) {
  std::vector<float> scores;
  float max = -std::numeric_limits<float>::infinity();
  for (const int64_t position : positions) {
    scores.push_back(plain_score(q, 1, kv, page_table, kv_head, position, head_dim) * scale);
    max = std::max(max, scores.back());
  }
  float sum = 0;
  std::fill_n(out, head_dim, 0.0F);
  for (size_t i = 0; i < positions.size(); ++i) {
    const float weight = std::exp(scores[i] - max);
    const int64_t offset = kv_offset(kv, page_table, positions[i], kv_head);
    sum += weight;
    for (int d = 0; d < head_dim; ++d) {
      out[d] += weight * load_kv(kv.dtype, kv.v, offset + d);
    }
  }
  for (int d = 0; d < head_dim; ++d) {
    out[d] = sum == 0 ? 0 : out[d] / sum * kv_scale(kv.v_scales, kv_head);
  }
  return max + std::log(sum);
}

float plain_score(const float* q, int group_size, const PagedKv& kv, const int32_t* page_table,
                  int64_t kv_head, int64_t position, int head_dim) {
  const int64_t offset = kv_offset(kv, page_table, position, kv_head);
  float score = 0;
  for (int d = 0; d < head_dim; ++d) {
    float mean = 0;
    for (int g = 0; g < group_size; ++g) {
      mean += q[int64_t{g} * head_dim + d];
    }
    score += mean / static_cast<float>(group_size) * load_kv(kv.dtype, kv.k, offset + d);
  }
  return score * kv_scale(kv.k_scales, kv_head);
}

}  // namespace lychee::attention
