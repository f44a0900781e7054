#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "bench/memory_rates.h"
#include "bench/statistics.h"
#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::bench {

// What a measurement of attention kernels needs of a device. Streams are null on the CPU.
class AttentionBackend {
 public:
  virtual ~AttentionBackend() = default;
  [[nodiscard]] virtual std::string_view device() const = 0;  // cpu or cuda

  // Memory of the device that lives until release().
  [[nodiscard]] virtual std::byte* make(int64_t bytes) = 0;
  virtual void release() = 0;
  // Done when they return.
  virtual void copy_in(std::byte* to, const void* from, int64_t bytes) = 0;
  virtual void copy_out(void* to, const std::byte* from, int64_t bytes) = 0;
  // Two planes of `bytes` that hold `block` over and over; kept until the next call.
  virtual void fill_pool(const std::vector<std::byte>& block, int64_t bytes) = 0;
  [[nodiscard]] virtual std::byte* pool(int plane) = 0;  // 0: K, 1: V
  // So much of K, and of V, that a rotation through it finds nothing in the device's cache.
  [[nodiscard]] virtual int64_t pool_bytes() const = 0;

  [[nodiscard]] virtual int64_t workspace_bytes(const attention::HybridDecodeParams& params) = 0;
  [[nodiscard]] virtual int64_t num_arrivals(const attention::HybridDecodeParams& params) = 0;
  [[nodiscard]] virtual int64_t workspace_bytes(const attention::SelectTokensParams& params) = 0;
  virtual void run(const attention::HybridDecodeParams& params, CUstream_st* stream) = 0;
  virtual void run(const attention::SelectTokensParams& params, CUstream_st* stream) = 0;

  // Of one of `count` calls, each over other memory than the one before.
  [[nodiscard]] virtual Spread time(int64_t count,
                                    const std::function<void(int64_t, CUstream_st*)>& call) = 0;
  [[nodiscard]] virtual MemoryRates rates(int64_t bytes) = 0;
};

[[nodiscard]] std::unique_ptr<AttentionBackend> cpu_attention_backend(int repeats);
[[nodiscard]] std::unique_ptr<AttentionBackend> cuda_attention_backend(int repeats);

}  // namespace lychee::bench
