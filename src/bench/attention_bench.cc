#include "bench/attention_bench.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <string>

#include "base/check.h"
#include "base/math.h"
#include "bench/device_timer.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/select_tokens.h"
#include "kernels/noise/fill_kv.h"
#include "tensor/device.h"

namespace lychee::bench {

namespace {

using attention::HybridDecodeParams;
using attention::kPageSize;
using attention::SelectTokensParams;
using Work = std::vector<std::function<void(CUstream_st*)>>;

constexpr int64_t kPoolBytes = int64_t{4} << 30;  // of K, and as many of V
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

std::vector<int32_t> random_set(int64_t context, int64_t count, std::mt19937_64& random) {
  std::vector<int32_t> set;
  for (int64_t position = 0; position < context; ++position) {
    // Each position with the chance that leaves every set of `count` equally likely.
    const auto left = static_cast<double>(context - position);
    const auto wanted = static_cast<double>(count - static_cast<int64_t>(set.size()));
    if (std::uniform_real_distribution<double>(0, left)(random) < wanted) {
      set.push_back(static_cast<int32_t>(position));
    }
  }
  return set;
}

}  // namespace

void require_kernel_bench(const char* op) {
  const CudaDevice device = query_cuda();
  require(device.available, ErrorCode::kUnsupported, "bench ", op,
          " needs the CUDA backend: ", device.missing);
}

class AttentionBench::Impl {
 public:
  Impl(int repeats, uint64_t seed) : seed_(seed), random_(seed), timer_(repeats) {}

  Row attention(const AttentionCase& c) {
    Arrays arrays;
    Measurement m = describe(c, c.num_retrieval == c.num_kv_heads ? "dense" : "hybrid");
    const int64_t row_bytes = dtype_bytes(c.kv_dtype, c.head_dim);
    const int64_t set_size = std::min<int64_t>(c.selection.budget, c.context);
    const int64_t tokens =
        c.num_retrieval * c.context + (c.num_kv_heads - c.num_retrieval) * set_size;
    m.op = "attention";
    m.bytes = static_cast<double>(2 * row_bytes * tokens * c.batch);
    m.kv_read = static_cast<double>(tokens) / static_cast<double>(c.num_kv_heads * c.context);
    HybridDecodeParams params = shared_params(c, arrays);
    const auto pages = ceil_div<int64_t>(c.context, kPageSize);
    const int64_t page_bytes = dtype_bytes(c.kv_dtype, params.kv.page_stride);
    const int64_t pool_pages = std::max(kPoolBytes / page_bytes, kMinCopies * pages * c.batch);
    fill_pool(c.kv_dtype, pool_pages * page_bytes);
    params.kv.k = k_.data();
    params.kv.v = v_.data();
    const int64_t copies =
        std::clamp<int64_t>(pool_pages / (pages * c.batch), kMinCopies, kMaxCopies);
    Work work;
    for (int64_t copy = 0; copy < copies; ++copy) {
      HybridDecodeParams p = params;
      p.page_tables = arrays.add(page_tables(c.batch * pages, copy, pool_pages));
      p.token_ids = arrays.add(token_ids(c, set_size));
      work.emplace_back([p](CUstream_st* stream) { attention::cuda::hybrid_decode(p, stream); });
    }
    return finish(std::move(m), work);
  }

  Row select(const AttentionCase& c) {
    Arrays arrays;
    Measurement m = describe(c, std::string(select_mode_name(c.selection.mode)).c_str());
    const int64_t rows = int64_t{c.batch} * c.num_retrieval;
    m.op = "select";
    m.bytes = static_cast<double>(rows * c.context * static_cast<int64_t>(sizeof(float)));
    fill_pool(DType::kF32, kPoolBytes);
    const int64_t ids_stride = max_selected(c.selection, c.context);
    SelectTokensParams params{
        .num_rows = static_cast<int>(rows),
        .scores = nullptr,
        .scores_stride = c.context,
        .kv_lens = arrays.add(std::vector<int64_t>(static_cast<size_t>(c.batch), c.context)),
        .selection = c.selection,
        .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
        .token_ids = arrays.make<int32_t>(rows * ids_stride),
        .token_ids_stride = ids_stride,
        .num_ids = arrays.make<int32_t>(rows),
        .workspace = nullptr,
        .active = nullptr,
        .rows_per_kv_len = c.num_retrieval};
    params.workspace =
        arrays.make<std::byte>(attention::cuda::select_tokens_workspace_bytes(params));
    Work work;
    const auto bytes = static_cast<int64_t>(m.bytes);
    constexpr int64_t kMaxRowSets = 256;  // 128 MB of scores and more: beyond the GPU's own cache
    const int64_t copies = std::clamp<int64_t>(kPoolBytes / bytes, kMinCopies, kMaxRowSets);
    for (int64_t copy = 0; copy < copies; ++copy) {
      SelectTokensParams p = params;
      p.scores = reinterpret_cast<const float*>(k_.data() + copy * bytes);
      work.emplace_back([p](CUstream_st* stream) { attention::cuda::select_tokens(p, stream); });
    }
    return finish(std::move(m), work);
  }

 private:
  // Device arrays of one measurement.
  class Arrays {
   public:
    template <typename T>
    T* make(int64_t count) {
      buffers_.emplace_back(std::max<int64_t>(count * static_cast<int64_t>(sizeof(T)), 1));
      return reinterpret_cast<T*>(buffers_.back().data());
    }
    template <typename T>
    T* add(const std::vector<T>& values) {
      const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
      T* device = make<T>(static_cast<int64_t>(values.size()));
      copy_to_device(device, values.data(), bytes, stream_.get());
      stream_.synchronize();
      return device;
    }

   private:
    Stream stream_;
    std::vector<DeviceBuffer> buffers_;
  };

  static Measurement describe(const AttentionCase& c, const char* policy) {
    Measurement m;
    m.context = c.context;
    m.batch = c.batch;
    m.policy = policy;
    m.weights = "none";
    m.kv_dtype = dtype_info(c.kv_dtype).name;
    m.tokens = c.batch;
    return m;
  }

  HybridDecodeParams shared_params(const AttentionCase& c, Arrays& arrays) {
    const int64_t items = int64_t{c.batch} * c.num_kv_heads;
    std::vector<int32_t> set_of_head;
    std::vector<uint8_t> emits;
    for (int64_t item = 0; item < items; ++item) {
      const bool retrieves = item % c.num_kv_heads < c.num_retrieval;
      set_of_head.push_back(retrieves ? HybridDecodeParams::kDense : static_cast<int32_t>(item));
      emits.push_back(retrieves && c.num_retrieval < c.num_kv_heads ? 1 : 0);
    }
    const auto set_size = static_cast<int32_t>(std::min<int64_t>(c.selection.budget, c.context));
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
    p.num_kv_heads = c.num_kv_heads;
    p.head_dim = c.head_dim;
    p.scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
    p.q = arrays.add(q);
    p.page_table_stride = ceil_div<int64_t>(c.context, kPageSize);
    p.kv_lens = arrays.add(std::vector<int64_t>(static_cast<size_t>(c.batch), c.context));
    p.kv.dtype = c.kv_dtype;
    p.kv.token_stride = c.head_dim;
    p.kv.head_stride = int64_t{kPageSize} * c.head_dim;
    p.kv.page_stride = p.kv.head_stride * c.num_kv_heads;
    p.set_of_head = arrays.add(set_of_head);
    p.token_ids_stride = set_size;
    p.num_ids = arrays.add(std::vector<int32_t>(static_cast<size_t>(items), set_size));
    p.scores = arrays.make<float>(items * c.context);
    p.scores_stride = c.context;
    p.emit_scores = arrays.add(emits);
    p.out = arrays.make<float>(q_size);
    p.lse = arrays.make<float>(int64_t{c.batch} * c.num_q_heads);
    p.workspace = arrays.make<std::byte>(attention::cuda::hybrid_decode_workspace_bytes(p));
    p.arrivals = arrays.add(std::vector<int32_t>(
        static_cast<size_t>(attention::cuda::hybrid_decode_num_arrivals(p)), 0));
    return p;
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

  std::vector<int32_t> token_ids(const AttentionCase& c, int64_t set_size) {
    std::vector<int32_t> ids;
    for (int64_t item = 0; item < int64_t{c.batch} * c.num_kv_heads; ++item) {
      std::vector<int32_t> set(static_cast<size_t>(set_size), 0);
      if (item % c.num_kv_heads >= c.num_retrieval) {
        set = random_set(c.context, set_size, random_);
      }
      ids.insert(ids.end(), set.begin(), set.end());
    }
    return ids;
  }

  // Both planes hold noise of `dtype`: 16 million values, over and over.
  void fill_pool(DType dtype, int64_t bytes) {
    if (k_.bytes() >= bytes && pool_dtype_ == dtype) {
      return;
    }
    k_ = DeviceBuffer();
    v_ = DeviceBuffer();
    k_ = DeviceBuffer(bytes);
    v_ = DeviceBuffer(bytes);
    pool_dtype_ = dtype;
    constexpr int64_t kNoiseCount = int64_t{1} << 24;
    const std::vector<std::byte> block = make_noise(dtype, kNoiseCount, seed_);
    for (const DeviceBuffer* plane : {&k_, &v_}) {
      auto filled = std::min<int64_t>(bytes, static_cast<int64_t>(block.size()));
      copy_to_device(plane->data(), block.data(), filled, timer_.stream());
      for (; filled < bytes; filled += std::min(filled, bytes - filled)) {
        copy_on_device(plane->data() + filled, plane->data(), std::min(filled, bytes - filled),
                       timer_.stream());
      }
    }
    const Event filled_all;  // `block` must live until then
    filled_all.record(timer_.stream());
    filled_all.synchronize();
  }

  Row finish(Measurement m, const Work& work) {
    m.us = timer_.time(static_cast<int64_t>(work.size()), [&](int64_t i, CUstream_st* stream) {
      work[static_cast<size_t>(i)](stream);
    });
    m.memory = timer_.rates(static_cast<int64_t>(m.bytes));
    return make_row(std::move(m));
  }

  uint64_t seed_;
  std::mt19937_64 random_;
  DeviceTimer timer_;
  DeviceBuffer k_;
  DeviceBuffer v_;
  DType pool_dtype_ = DType::kF32;
};

AttentionBench::AttentionBench(int repeats, uint64_t seed)
    : impl_(std::make_unique<Impl>(repeats, seed)) {}
AttentionBench::~AttentionBench() = default;

Row AttentionBench::attention(const AttentionCase& c) {
  return impl_->attention(c);
}
Row AttentionBench::select(const AttentionCase& c) {
  return impl_->select(c);
}

}  // namespace lychee::bench
