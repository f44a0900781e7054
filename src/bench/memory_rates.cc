#include "bench/memory_rates.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/math.h"
#include "bench/statistics.h"
#include "bench/stopwatch.h"
#include "kernels/cpu/stream.h"

namespace lychee::bench {

namespace {

constexpr int kPasses = 7;

// Rate of `pass`, which moves `bytes`, after one that warms up.
template <typename Pass>
double gb_per_s(int64_t bytes, const Pass& pass) {
  pass();
  std::vector<double> us;
  for (int i = 0; i < kPasses; ++i) {
    const Stopwatch watch;
    pass();
    us.push_back(watch.us());
  }
  return static_cast<double>(bytes) / percentile(us, 0.5) * 1e-3;
}

}  // namespace

MemoryRates MemoryRuler::measure(int64_t bytes) {
  // Two halves of whole blocks, for the copy.
  constexpr int64_t kStep = 2 * cpu::kStreamBlock;
  const int64_t size = round_up(std::clamp(bytes, kMinBytes, kMaxBytes), kStep);
  if (buffer_.bytes() < size) {
    buffer_ = Buffer(size);
    // Pages never written all map to one page of zeros, which a cache would hold.
    std::memset(buffer_.data(), 0x55, static_cast<size_t>(size));
  }
  uint64_t sum = 0;
  MemoryRates rates;
  rates.read_gb_per_s = gb_per_s(size, [&] { sum += cpu::read_stream(buffer_.data(), size); });
  // Equal words: their sum is known, and asking for it keeps the loop from being dropped.
  constexpr uint64_t kWord = 0x5555555555555555;
  const auto words = static_cast<uint64_t>((kPasses + 1) * (size / 8));
  require(sum == kWord * words, ErrorCode::kInternal, "the read loop missed bytes");
  const int64_t half = size / 2;
  rates.copy_gb_per_s =
      gb_per_s(size, [&] { cpu::copy_stream(buffer_.data(), buffer_.data() + half, half); });
  return rates;
}

}  // namespace lychee::bench
