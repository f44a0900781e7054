#include "bench/device_timer.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "base/math.h"
#include "kernels/device_stream.h"
#include "tensor/buffer.h"
#include "tensor/device.h"

namespace lychee::bench {

namespace {

constexpr int kWarmUps = 3;

}  // namespace

Spread DeviceTimer::time(int64_t count, const std::function<void(int64_t, CUstream_st*)>& enqueue) {
  Graph graph;
  graph.capture(stream_.get(), [&] {
    for (int64_t i = 0; i < count; ++i) {
      enqueue(i, stream_.get());
    }
  });
  const Event start;
  const Event end;
  std::vector<double> us;
  for (int i = 0; i < kWarmUps + repeats_; ++i) {
    start.record(stream_.get());
    graph.launch(stream_.get());
    end.record(stream_.get());
    end.synchronize();
    if (i >= kWarmUps) {
      us.push_back(end.microseconds_since(start) / static_cast<double>(count));
    }
  }
  return spread_of(us);
}

MemoryRates DeviceTimer::rates(int64_t bytes) {
  const auto size = round_up<int64_t>(bytes, 16);
  const int64_t copies = rotation(size, query_cuda().l2_bytes);
  const DeviceBuffer data = random_device_bytes(copies * size, 1, stream());
  const DeviceBuffer sum(16);
  const Spread read = time(copies, [&](int64_t i, CUstream_st* stream) {
    cuda::read_stream(data.data() + i * size, size, reinterpret_cast<uint32_t*>(sum.data()),
                      stream);
  });
  const int64_t half = size / 32 * 16;
  const Spread copy = time(copies, [&](int64_t i, CUstream_st* stream) {
    std::byte* at = data.data() + i * size;
    copy_on_device(at + half, at, half, stream);
  });
  return {static_cast<double>(size) / read.median * 1e-3,
          2.0 * static_cast<double>(half) / copy.median * 1e-3};
}

int64_t rotation(int64_t bytes, int64_t l2_bytes) {
  return std::clamp<int64_t>(ceil_div(4 * l2_bytes, bytes), 3, 64);
}

DeviceBuffer random_device_bytes(int64_t bytes, uint64_t seed, CUstream_st* stream) {
  // A pattern of a length that is no power of two, repeated: drawing all of it would take longer
  // than the measurement.
  constexpr int64_t kPattern = (int64_t{4} << 20) + 4096;
  std::vector<uint64_t> pattern(kPattern / 8);
  std::mt19937_64 random(seed);
  for (uint64_t& word : pattern) {
    word = random() & 0xbfbfbfbfbfbfbfbf;
  }
  DeviceBuffer buffer(bytes);
  copy_to_device(buffer.data(), pattern.data(), std::min(kPattern, bytes), stream);
  for (int64_t at = kPattern; at < bytes; at += kPattern) {
    copy_on_device(buffer.data() + at, buffer.data(), std::min(kPattern, bytes - at), stream);
  }
  return buffer;
}

}  // namespace lychee::bench
