#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/attention/params.h"
#include "model/kv_memory.h"
#include "tensor/dtype.h"

namespace lychee::model {

struct KvCacheShape {
  int num_layers = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kF16;

  // K and V of one token in all layers.
  [[nodiscard]] int64_t bytes_per_token() const {
    return int64_t{2} * num_layers * num_kv_heads * dtype_bytes(dtype, head_dim);
  }
  [[nodiscard]] int64_t bytes_per_page() const { return bytes_per_token() * attention::kPageSize; }
  // Scales of K and V of each head and layer: of 8-bit floats alone.
  [[nodiscard]] int64_t scale_bytes() const {
    return dtype == DType::kF8E4M3
               ? int64_t{2} * num_layers * num_kv_heads * static_cast<int64_t>(sizeof(float))
               : 0;
  }
  [[nodiscard]] int64_t bytes(int64_t num_pages) const {
    return num_pages * bytes_per_page() + scale_bytes();
  }
};

// Pages that a sequence of so many tokens can need: its own, those of policy page-bound's summaries
// if `bound`, and one that it writes apart from a sequence it shares pages with.
[[nodiscard]] int64_t sequence_pages(int64_t tokens, bool bound);

// The pages of one sequence, in order. A page may be shared between tables; see KvCache.
class PageTable {
 public:
  [[nodiscard]] std::span<const int32_t> pages() const { return pages_; }

 private:
  friend class KvCache;
  std::vector<int32_t> pages_;
};

// K and V of all layers in pages of attention::kPageSize tokens; a page id means the same place in
// every layer. Pages are reference-counted, so that sequences share a common past; who writes to a
// shared page gets a copy first. Not thread-safe.
class KvCache {
 public:
  // In host memory. Throws Error(kOutOfMemory) when the address space cannot be reserved.
  KvCache(const KvCacheShape& shape, int64_t num_pages);
  // `memory` holds shape.bytes(num_pages).
  KvCache(const KvCacheShape& shape, int64_t num_pages, std::unique_ptr<KvMemory> memory);

  // Makes positions [begin, end) writable in `table`: appends pages, and copies the ones that
  // others share. False, with the table unchanged, when pages run out.
  [[nodiscard]] bool prepare_write(PageTable& table, int64_t begin, int64_t end);
  // A table with the same pages, each counted once more.
  [[nodiscard]] PageTable share(const PageTable& table);
  // Gives back the pages beyond `length` tokens.
  void truncate(PageTable& table, int64_t length);

  [[nodiscard]] attention::PagedKv layer(int index) const;
  // What layer(index) refers to as k_scales and v_scales, one after the other, to be written before
  // anything is stored; null unless K and V are 8-bit floats.
  [[nodiscard]] float* scales(int layer) const;
  [[nodiscard]] const KvCacheShape& shape() const { return shape_; }
  [[nodiscard]] int64_t num_pages() const { return num_pages_; }
  [[nodiscard]] int64_t pages_in_use() const { return pages_in_use_; }
  [[nodiscard]] int64_t free_pages() const { return num_pages_ - pages_in_use_; }

 private:
  [[nodiscard]] int32_t allocate_page();
  void release_page(int32_t page);
  void copy_page(int32_t from, int32_t to);

  KvCacheShape shape_;
  int64_t num_pages_;
  int64_t page_bytes_;   // K, or V, of one page in one layer
  int64_t layer_bytes_;  // K and V of all pages in one layer
  // [num_layers, 2 (K, V), num_pages, num_kv_heads, kPageSize, head_dim], then scales, [num_layers,
  // 2, num_kv_heads]
  std::unique_ptr<KvMemory> memory_;
  std::vector<int32_t> reference_counts_;
  std::vector<int32_t> free_;  // used before and given back; taken first, since already committed
  int64_t first_unused_ = 0;
  int64_t pages_in_use_ = 0;
};

}  // namespace lychee::model
