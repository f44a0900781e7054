#include "bench/attention_bench.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/math.h"
#include "bench/attention_backend.h"
#include "kernels/cpu/threads.h"
#include "kernels/noise/fill_kv.h"
#include "tensor/device.h"

namespace lychee::bench {

namespace {

using attention::HybridDecodeParams;
using attention::kPageSize;
using attention::SelectTokensParams;

constexpr int kMinCopies = 2;
constexpr int kMaxCopies = 16;

// `count` values close to standard normal as the cache holds them.
std::vector<std::byte> make_noise(DType dtype, int64_t count, uint64_t seed) {
  std::vector<std::byte> bytes(static_cast<size_t>(dtype_bytes(dtype, count)));
  for (int64_t i = 0; i < count; ++i) {
    const float value = noise::near_normal(
        static_cast<uint32_t>(noise::random_word(seed, static_cast<uint64_t>(i))));
    const auto store = [&](auto element) {
      std::copy_n(reinterpret_cast<const std::byte*>(&element), sizeof(element),
                  bytes.data() + i * static_cast<int64_t>(sizeof(element)));
    };
    switch (dtype) {
      case DType::kF32:
        store(value);
        break;
      case DType::kF16:
        store(f16(value));
        break;
      case DType::kBF16:
        store(bf16(value));
        break;
      case DType::kF8E4M3:
        store(f8e4m3(value));
        break;
      default:
        fail(ErrorCode::kUnsupported, "no cache of ", dtype_info(dtype).name);
    }
  }
  return bytes;
}

// `count` of the numbers below `limit`, in order.
std::vector<int32_t> random_set(int64_t limit, int64_t count, std::mt19937_64& random) {
  std::vector<int32_t> set;
  for (int64_t position = 0; position < limit; ++position) {
    // Each position with the chance that leaves every set of `count` equally likely.
    const auto left = static_cast<double>(limit - position);
    const auto wanted = static_cast<double>(count - static_cast<int64_t>(set.size()));
    if (std::uniform_real_distribution<double>(0, left)(random) < wanted) {
      set.push_back(static_cast<int32_t>(position));
    }
  }
  return set;
}

std::vector<int32_t> random_pages(int64_t context, int64_t count, std::mt19937_64& random) {
  constexpr int32_t kTokens = 16;
  std::vector<int32_t> set;
  for (const int32_t page :
       random_set(ceil_div<int64_t>(context, kTokens), ceil_div<int64_t>(count, kTokens), random)) {
    for (int32_t i = 0; i < kTokens; ++i) {
      set.push_back(page * kTokens + i);
    }
  }
  // A partial last page, or a count that is no multiple of a page.
  std::erase_if(set, [&](int32_t position) { return position >= context; });
  set.resize(std::min(set.size(), static_cast<size_t>(count)));
  return set;
}

std::vector<int32_t> token_set(const AttentionCase& c, std::mt19937_64& random) {
  const int64_t count = std::min<int64_t>(c.selection.budget, c.context);
  if (c.sets == SetKind::kPages) {
    return random_pages(c.context, count, random);
  }
  if (c.sets != SetKind::kEnds) {
    return random_set(c.context, count, random);
  }
  std::vector<int32_t> set(static_cast<size_t>(count));
  const int64_t sink = std::min<int64_t>(c.selection.sink, count);
  std::iota(set.begin(), set.begin() + sink, 0);
  std::iota(set.begin() + sink, set.end(), static_cast<int32_t>(c.context - (count - sink)));
  return set;
}

std::unique_ptr<AttentionBackend> make_backend(Device device, int threads, int repeats) {
  if (device == Device::kCuda || (device == Device::kAuto && cuda_available())) {
    require_cuda();
    return cuda_attention_backend(repeats);
  }
  cpu::set_num_threads(threads);
  return cpu_attention_backend(repeats);
}

Measurement describe(const char* op, const AttentionCase& c) {
  Measurement m;
  m.op = op;
  m.context = c.context;
  m.batch = c.batch;
  m.policy = c.policy;
  m.weights = "none";
  m.kv_dtype = dtype_info(c.kv_dtype).name;
  m.tokens = c.batch;
  m.num_layers = c.heads.num_layers;
  m.num_retrieval = c.heads.num_dense + c.heads.num_select;
  return m;
}

}  // namespace

SetKind set_kind(Policy policy) {
  switch (policy) {
    case Policy::kLayerShared:
      return SetKind::kShared;
    case Policy::kStreaming:
    case Policy::kDuo:
      return SetKind::kEnds;
    case Policy::kPageBound:
      return SetKind::kPages;
    default:
      return SetKind::kOwn;
  }
}

class AttentionBench::Impl {
 public:
  Impl(std::unique_ptr<AttentionBackend> backend, uint64_t seed)
      : backend_(std::move(backend)), seed_(seed), random_(seed) {}

  [[nodiscard]] std::string_view device() const { return backend_->device(); }

  Row attention(const AttentionCase& c) {
    HybridDecodeParams params = shared_params(c);
    const int64_t pages = int64_t{c.batch} * params.page_table_stride;
    const int64_t page_bytes = dtype_bytes(c.kv_dtype, params.kv.page_stride);
    const int64_t pool_pages = std::max(backend_->pool_bytes() / page_bytes, kMinCopies * pages);
    fill_pool(c.kv_dtype, pool_pages * page_bytes);
    params.kv.k = backend_->pool(0);
    params.kv.v = backend_->pool(1);
    std::vector<HybridDecodeParams> work(
        static_cast<size_t>(std::clamp<int64_t>(pool_pages / pages, kMinCopies, kMaxCopies)),
        params);
    int64_t tokens_read = 0;
    for (HybridDecodeParams& p : work) {
      p.page_tables = add(page_tables(pages, &p - work.data(), pool_pages));
      tokens_read = add_sets(c, p);
    }
    Measurement m = describe("attention", c);
    m.bytes = static_cast<double>(2 * dtype_bytes(c.kv_dtype, c.head_dim) * tokens_read);
    m.kv_read = static_cast<double>(tokens_read) /
                static_cast<double>(c.heads.num_kv_heads() * c.context * c.batch);
    return finish(std::move(m), work);
  }

  Row select(const AttentionCase& c) {
    // Logits with this spread leave most of the softmax to a hundredth of the tokens, as real ones
    // do; else `mass` and `threshold` would never end before the budget.
    constexpr float kLogitSpread = 4;
    Measurement m = describe("select", c);
    const int64_t rows = int64_t{c.batch} * c.heads.num_select;
    m.bytes = static_cast<double>(rows * c.context * static_cast<int64_t>(sizeof(float)));
    const auto bytes = static_cast<int64_t>(m.bytes);
    fill_pool(DType::kF32, std::max(backend_->pool_bytes(), kMinCopies * bytes));
    const int64_t ids_stride = max_selected(c.selection, c.context);
    SelectTokensParams params{};
    params.num_rows = static_cast<int>(rows);
    params.scores_stride = c.context;
    params.kv_lens = add(std::vector<int64_t>(static_cast<size_t>(rows), c.context));
    params.selection = c.selection;
    params.scale = kLogitSpread;
    params.token_ids = make<int32_t>(rows * ids_stride);
    params.token_ids_stride = ids_stride;
    params.num_ids = make<int32_t>(rows);
    params.workspace = make<std::byte>(backend_->workspace_bytes(params));
    constexpr int64_t kMaxRowSets = 256;  // 128 MB of scores and more: beyond the device's cache
    std::vector<SelectTokensParams> work(
        static_cast<size_t>(
            std::clamp<int64_t>(backend_->pool_bytes() / bytes, kMinCopies, kMaxRowSets)),
        params);
    for (SelectTokensParams& p : work) {
      p.scores = reinterpret_cast<const float*>(backend_->pool(0) + (&p - work.data()) * bytes);
    }
    const int32_t* num_ids = params.num_ids;
    return finish(std::move(m), work, [&](Measurement& found) {
      std::vector<int32_t> counts(static_cast<size_t>(rows));
      backend_->copy_out(counts.data(), reinterpret_cast<const std::byte*>(num_ids),
                         rows * static_cast<int64_t>(sizeof(int32_t)));
      found.num_selected =
          std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
    });
  }

 private:
  template <typename T>
  T* make(int64_t count) {
    return reinterpret_cast<T*>(backend_->make(count * static_cast<int64_t>(sizeof(T))));
  }
  template <typename T>
  T* add(const std::vector<T>& values) {
    T* at = make<T>(std::ssize(values));
    backend_->copy_in(reinterpret_cast<std::byte*>(at), values.data(),
                      static_cast<int64_t>(values.size() * sizeof(T)));
    return at;
  }

  HybridDecodeParams shared_params(const AttentionCase& c) {
    const int kv_heads = c.heads.num_kv_heads();
    const int64_t items = int64_t{c.batch} * kv_heads;
    const int64_t q_size = int64_t{c.batch} * c.num_q_heads * c.head_dim;
    std::vector<float> q;
    q.reserve(static_cast<size_t>(q_size));
    for (int64_t i = 0; i < q_size; ++i) {
      q.push_back(noise::near_normal(
          static_cast<uint32_t>(noise::random_word(seed_ + 1, static_cast<uint64_t>(i)))));
    }
    HybridDecodeParams p{};
    p.batch = c.batch;
    p.num_q_heads = c.num_q_heads;
    p.num_kv_heads = kv_heads;
    p.head_dim = c.head_dim;
    p.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
    p.q = add(q);
    p.page_table_stride = ceil_div<int64_t>(c.context, kPageSize);
    p.kv_lens = add(std::vector<int64_t>(static_cast<size_t>(c.batch), c.context));
    p.kv.dtype = c.kv_dtype;
    p.kv.token_stride = c.head_dim;
    p.kv.head_stride = int64_t{kPageSize} * c.head_dim;
    p.kv.page_stride = p.kv.head_stride * kv_heads;
    p.scores = make<float>(items * c.context);
    p.scores_stride = c.context;
    p.out = make<float>(q_size);
    p.lse = make<float>(int64_t{c.batch} * c.num_q_heads);
    add_roles(c, p);
    p.workspace = make<std::byte>(backend_->workspace_bytes(p));
    p.arrivals = add(std::vector<int32_t>(static_cast<size_t>(backend_->num_arrivals(p)), 0));
    return p;
  }

  // Who reads what: selecting heads first, then dense ones, then those with sets.
  void add_roles(const AttentionCase& c, HybridDecodeParams& p) {
    std::vector<int32_t> set_of_head;
    std::vector<uint8_t> emits;
    for (int b = 0; b < c.batch; ++b) {
      for (int head = 0; head < p.num_kv_heads; ++head) {
        const bool reads_set = head >= c.heads.num_select + c.heads.num_dense;
        const int owner = c.sets == SetKind::kShared ? 0 : head;
        set_of_head.push_back(reads_set ? b * p.num_kv_heads + owner : HybridDecodeParams::kDense);
        emits.push_back(head < c.heads.num_select ? 1 : 0);
      }
    }
    p.set_of_head = add(set_of_head);
    p.emit_scores = add(emits);
    p.token_ids_stride = std::min<int64_t>(c.selection.budget, c.context);
  }

  // A row of ids for every head of every sequence, used or not; returns the tokens that all heads
  // read together.
  int64_t add_sets(const AttentionCase& c, HybridDecodeParams& p) {
    std::vector<int32_t> ids;
    std::vector<int32_t> counts;
    int64_t tokens = 0;
    for (int b = 0; b < c.batch; ++b) {
      for (int head = 0; head < p.num_kv_heads; ++head) {
        const bool reads_set = head >= c.heads.num_select + c.heads.num_dense;
        const bool owns = c.sets == SetKind::kShared ? head == 0 : reads_set;
        std::vector<int32_t> set = owns ? token_set(c, random_) : std::vector<int32_t>();
        counts.push_back(static_cast<int32_t>(set.size()));
        const int owner =
            c.sets == SetKind::kShared ? b * p.num_kv_heads : b * p.num_kv_heads + head;
        tokens += reads_set ? counts[static_cast<size_t>(owner)] : c.context;
        set.resize(static_cast<size_t>(p.token_ids_stride));
        ids.insert(ids.end(), set.begin(), set.end());
      }
    }
    p.token_ids = add(ids);
    p.num_ids = add(counts);
    return tokens;
  }

  // Pages of one copy of all sequences, shuffled.
  std::vector<int32_t> page_tables(int64_t count, int64_t copy, int64_t pool_pages) {
    std::vector<int32_t> pages;
    pages.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      pages.push_back(static_cast<int32_t>((copy * count + i) % pool_pages));
    }
    std::shuffle(pages.begin(), pages.end(), random_);
    return pages;
  }

  // Both planes hold noise of `dtype`: four million values, over and over.
  void fill_pool(DType dtype, int64_t bytes) {
    if (pool_bytes_ >= bytes && pool_dtype_ == dtype) {
      return;
    }
    constexpr int64_t kNoiseCount = int64_t{1} << 22;
    backend_->fill_pool(make_noise(dtype, kNoiseCount, seed_), bytes);
    pool_dtype_ = dtype;
    pool_bytes_ = bytes;
  }

  template <typename Params>
  Row finish(Measurement m, const std::vector<Params>& work,
             const std::function<void(Measurement&)>& look = {}) {
    m.us = backend_->time(std::ssize(work), [&](int64_t i, CUstream_st* stream) {
      backend_->run(work[static_cast<size_t>(i)], stream);
    });
    if (look) {
      look(m);
    }
    m.memory = backend_->rates(static_cast<int64_t>(m.bytes));
    backend_->release();
    return make_row(std::move(m));
  }

  std::unique_ptr<AttentionBackend> backend_;
  uint64_t seed_;
  std::mt19937_64 random_;
  DType pool_dtype_ = DType::kF32;
  int64_t pool_bytes_ = 0;
};

AttentionBench::AttentionBench(Device device, int threads, int repeats, uint64_t seed)
    : impl_(std::make_unique<Impl>(make_backend(device, threads, repeats), seed)) {}
AttentionBench::~AttentionBench() = default;

std::string_view AttentionBench::device() const {
  return impl_->device();
}
Row AttentionBench::attention(const AttentionCase& c) {
  return impl_->attention(c);
}
Row AttentionBench::select(const AttentionCase& c) {
  return impl_->select(c);
}

}  // namespace lychee::bench
