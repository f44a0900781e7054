#pragma once

#include <cstdint>
#include <functional>

#include "bench/memory_rates.h"
#include "bench/statistics.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::bench {

// Times device work: what `enqueue(i)` puts on a stream for i = 0 … count - 1 is recorded as one
// graph, which is launched some times to warm up and then `repeats` times. The spread is that of a
// launch's time over `count`, so each i should read other memory than the one before.
class DeviceTimer {
 public:
  explicit DeviceTimer(int repeats) : repeats_(repeats) {}

  [[nodiscard]] Spread time(int64_t count,
                            const std::function<void(int64_t, CUstream_st*)>& enqueue);
  // Plain reads and copies of `bytes` at a time, out of more memory than the caches hold.
  [[nodiscard]] MemoryRates rates(int64_t bytes);
  [[nodiscard]] CUstream_st* stream() const { return stream_.get(); }

 private:
  Stream stream_;
  int repeats_;
};

// How many buffers of `bytes` a rotation needs so that each has left the caches when its turn comes
// again.
[[nodiscard]] int64_t rotation(int64_t bytes, int64_t l2_bytes);

// `bytes` of random bits on the device; no half-precision or bf16 number among them is above 2.
[[nodiscard]] DeviceBuffer random_device_bytes(int64_t bytes, uint64_t seed, CUstream_st* stream);

}  // namespace lychee::bench
