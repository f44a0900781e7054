#include "bench/attention_backend.h"

#include <algorithm>
#include <array>

#include "bench/device_timer.h"
#include "bench/stopwatch.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/select_tokens.h"
#include "tensor/buffer.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::bench {

namespace {

using attention::HybridDecodeParams;
using attention::SelectTokensParams;

class CpuBackend : public AttentionBackend {
 public:
  explicit CpuBackend(int repeats) : repeats_(repeats) {}
  [[nodiscard]] std::string_view device() const override { return "cpu"; }

  std::byte* make(int64_t bytes) override {
    return buffers_.emplace_back(std::max<int64_t>(bytes, 1)).data();
  }
  void release() override { buffers_.clear(); }
  void copy_in(std::byte* to, const void* from, int64_t bytes) override {
    std::copy_n(static_cast<const std::byte*>(from), bytes, to);  // empty arrays may be null
  }
  void copy_out(void* to, const std::byte* from, int64_t bytes) override {
    std::copy_n(from, bytes, static_cast<std::byte*>(to));
  }
  void fill_pool(const std::vector<std::byte>& block, int64_t bytes) override {
    for (Buffer& plane : planes_) {
      plane = Buffer();
      plane = Buffer(bytes);
      for (int64_t at = 0; at < bytes; at += std::ssize(block)) {
        copy_in(plane.data() + at, block.data(), std::min<int64_t>(bytes - at, std::ssize(block)));
      }
    }
  }
  std::byte* pool(int plane) override { return planes_.at(static_cast<size_t>(plane)).data(); }
  [[nodiscard]] int64_t pool_bytes() const override { return int64_t{128} << 20; }

  int64_t workspace_bytes(const HybridDecodeParams& params) override {
    return attention::cpu::hybrid_decode_workspace_bytes(params);
  }
  int64_t num_arrivals(const HybridDecodeParams& /*params*/) override { return 0; }
  int64_t workspace_bytes(const SelectTokensParams& params) override {
    return attention::cpu::select_tokens_workspace_bytes(params);
  }
  void run(const HybridDecodeParams& params, CUstream_st* /*stream*/) override {
    attention::cpu::hybrid_decode(params);
  }
  void run(const SelectTokensParams& params, CUstream_st* /*stream*/) override {
    attention::cpu::select_tokens(params);
  }

  Spread time(int64_t count, const std::function<void(int64_t, CUstream_st*)>& call) override {
    std::vector<double> us;
    for (int i = 0; i <= repeats_; ++i) {
      const Stopwatch watch;
      for (int64_t k = 0; k < count; ++k) {
        call(k, nullptr);
      }
      if (i > 0) {  // the first warms up
        us.push_back(watch.us() / static_cast<double>(count));
      }
    }
    return spread_of(us);
  }
  MemoryRates rates(int64_t bytes) override {
    // As much as a rotation goes through, so that the plain loop finds no more in caches than it.
    return ruler_.measure(std::max(bytes, 2 * pool_bytes()));
  }

 private:
  int repeats_;
  std::vector<Buffer> buffers_;
  std::array<Buffer, 2> planes_;
  MemoryRuler ruler_;
};

class CudaBackend : public AttentionBackend {
 public:
  explicit CudaBackend(int repeats) : timer_(repeats) {}
  [[nodiscard]] std::string_view device() const override { return "cuda"; }

  std::byte* make(int64_t bytes) override {
    return buffers_.emplace_back(std::max<int64_t>(bytes, 1)).data();
  }
  void release() override { buffers_.clear(); }
  void copy_in(std::byte* to, const void* from, int64_t bytes) override {
    copy_to_device(to, from, bytes, timer_.stream());
    wait();
  }
  void copy_out(void* to, const std::byte* from, int64_t bytes) override {
    copy_to_host(to, from, bytes, timer_.stream());
    wait();
  }
  void fill_pool(const std::vector<std::byte>& block, int64_t bytes) override {
    planes_ = {};
    for (DeviceBuffer& plane : planes_) {
      plane = DeviceBuffer(bytes);
      auto filled = std::min<int64_t>(bytes, std::ssize(block));
      copy_to_device(plane.data(), block.data(), filled, timer_.stream());
      for (; filled < bytes; filled += std::min(filled, bytes - filled)) {
        copy_on_device(plane.data() + filled, plane.data(), std::min(filled, bytes - filled),
                       timer_.stream());
      }
    }
    wait();  // `block` must live until then
  }
  std::byte* pool(int plane) override { return planes_.at(static_cast<size_t>(plane)).data(); }
  [[nodiscard]] int64_t pool_bytes() const override { return int64_t{4} << 30; }

  int64_t workspace_bytes(const HybridDecodeParams& params) override {
    return attention::cuda::hybrid_decode_workspace_bytes(params);
  }
  int64_t num_arrivals(const HybridDecodeParams& params) override {
    return attention::cuda::hybrid_decode_num_arrivals(params);
  }
  int64_t workspace_bytes(const SelectTokensParams& params) override {
    return attention::cuda::select_tokens_workspace_bytes(params);
  }
  void run(const HybridDecodeParams& params, CUstream_st* stream) override {
    attention::cuda::hybrid_decode(params, stream);
  }
  void run(const SelectTokensParams& params, CUstream_st* stream) override {
    attention::cuda::select_tokens(params, stream);
  }

  Spread time(int64_t count, const std::function<void(int64_t, CUstream_st*)>& call) override {
    return timer_.time(count, call);
  }
  MemoryRates rates(int64_t bytes) override { return timer_.rates(bytes); }

 private:
  void wait() {
    const Event done;
    done.record(timer_.stream());
    done.synchronize();
  }

  DeviceTimer timer_;
  std::vector<DeviceBuffer> buffers_;
  std::array<DeviceBuffer, 2> planes_;
};

}  // namespace

std::unique_ptr<AttentionBackend> cpu_attention_backend(int repeats) {
  return std::make_unique<CpuBackend>(repeats);
}

std::unique_ptr<AttentionBackend> cuda_attention_backend(int repeats) {
  return std::make_unique<CudaBackend>(repeats);
}

}  // namespace lychee::bench
