#include "model/kv_cache.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace lychee::model {

using attention::kPageSize;

int64_t sequence_pages(int64_t tokens, bool bound) {
  const int64_t pages = ceil_div(tokens, int64_t{kPageSize});
  return pages + (bound ? ceil_div(pages, int64_t{attention::kBoundPageSize}) : 0) + 1;
}

void HostKvMemory::copy(int64_t from, int64_t to, int64_t bytes, int64_t stride, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(data() + to + i * stride, data() + from + i * stride, static_cast<size_t>(bytes));
  }
}

KvCache::KvCache(const KvCacheShape& shape, int64_t num_pages)
    : KvCache(shape, num_pages, std::make_unique<HostKvMemory>(shape.bytes(num_pages))) {}

KvCache::KvCache(const KvCacheShape& shape, int64_t num_pages, std::unique_ptr<KvMemory> memory)
    : shape_(shape),
      num_pages_(num_pages),
      page_bytes_(int64_t{shape.num_kv_heads} * kPageSize *
                  dtype_bytes(shape.dtype, shape.head_dim)),
      layer_bytes_(2 * num_pages * page_bytes_),
      memory_(std::move(memory)),
      reference_counts_(static_cast<size_t>(num_pages), 0) {}

int32_t KvCache::allocate_page() {
  int32_t page = 0;
  if (free_.empty()) {
    page = static_cast<int32_t>(first_unused_++);
  } else {
    page = free_.back();
    free_.pop_back();
  }
  reference_counts_[static_cast<size_t>(page)] = 1;
  ++pages_in_use_;
  return page;
}

void KvCache::release_page(int32_t page) {
  if (--reference_counts_[static_cast<size_t>(page)] == 0) {
    free_.push_back(page);
    --pages_in_use_;
  }
}

void KvCache::copy_page(int32_t from, int32_t to) {
  memory_->copy(from * page_bytes_, to * page_bytes_, page_bytes_, num_pages_ * page_bytes_,
                int64_t{2} * shape_.num_layers);
}

bool KvCache::prepare_write(PageTable& table, int64_t begin, int64_t end) {
  std::vector<int32_t>& pages = table.pages_;
  const auto first = static_cast<size_t>(begin / kPageSize);
  const auto last = static_cast<size_t>(ceil_div(end, int64_t{kPageSize}));
  int64_t needed = static_cast<int64_t>(last) - static_cast<int64_t>(pages.size());
  needed = std::max<int64_t>(needed, 0);
  for (size_t i = first; i < std::min(last, pages.size()); ++i) {
    needed += reference_counts_[static_cast<size_t>(pages[i])] > 1 ? 1 : 0;
  }
  if (needed > free_pages()) {
    return false;
  }
  for (size_t i = first; i < std::min(last, pages.size()); ++i) {
    if (reference_counts_[static_cast<size_t>(pages[i])] > 1) {
      const int32_t copy = allocate_page();
      copy_page(pages[i], copy);
      release_page(pages[i]);
      pages[i] = copy;
    }
  }
  while (pages.size() < last) {
    pages.push_back(allocate_page());
  }
  return true;
}

PageTable KvCache::share(const PageTable& table) {
  for (const int32_t page : table.pages_) {
    ++reference_counts_[static_cast<size_t>(page)];
  }
  return table;
}

void KvCache::truncate(PageTable& table, int64_t length) {
  const auto keep = static_cast<size_t>(ceil_div(length, int64_t{kPageSize}));
  while (table.pages_.size() > keep) {
    release_page(table.pages_.back());
    table.pages_.pop_back();
  }
}

attention::PagedKv KvCache::layer(int index) const {
  std::byte* base = memory_->data() + index * layer_bytes_;
  const int64_t token_stride = shape_.head_dim;
  const int64_t head_stride = token_stride * kPageSize;
  const float* k_scales = scales(index);
  return {.dtype = shape_.dtype,
          .k = base,
          .v = base + num_pages_ * page_bytes_,
          .page_stride = head_stride * shape_.num_kv_heads,
          .head_stride = head_stride,
          .token_stride = token_stride,
          .k_scales = k_scales,
          .v_scales = k_scales == nullptr ? nullptr : k_scales + shape_.num_kv_heads};
}

float* KvCache::scales(int layer) const {
  if (shape_.scale_bytes() == 0) {
    return nullptr;
  }
  std::byte* first = memory_->data() + shape_.num_layers * layer_bytes_;
  return reinterpret_cast<float*>(first) + int64_t{2} * layer * shape_.num_kv_heads;
}

}  // namespace lychee::model
