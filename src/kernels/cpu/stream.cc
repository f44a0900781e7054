#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stream.cc"
#include "kernels/cpu/stream.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace lychee::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Pages read side by side. The hardware prefetches within a page, so that one page at a time leaves
// gaps; 4 to 16 are as good as each other.
constexpr int64_t kPages = 8;

// Not SumOfLanes: on AVX-512 it adds as signed words, whose overflow is undefined.
template <typename D, typename V>
uint64_t wrapping_sum(D d, V v) {
  HWY_ALIGN uint64_t lanes[HWY_MAX_BYTES / sizeof(uint64_t)];
  hn::Store(v, d, lanes);
  uint64_t sum = 0;
  for (size_t i = 0; i < hn::Lanes(d); ++i) {
    sum += lanes[i];
  }
  return sum;
}

// Eight named sums rather than an array: vectors of run-time length cannot be elements.
uint64_t sum_pages(const std::byte* data) {
  const hn::ScalableTag<uint64_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  constexpr int64_t kWords = kStreamBlock / int64_t{sizeof(uint64_t)};
  auto s0 = hn::Zero(d);
  auto s1 = s0;
  auto s2 = s0;
  auto s3 = s0;
  auto s4 = s0;
  auto s5 = s0;
  auto s6 = s0;
  auto s7 = s0;
  for (int64_t i = 0; i < kWords; i += lanes) {
    const uint64_t* at = words + i;
    s0 = hn::Add(s0, hn::LoadU(d, at));
    s1 = hn::Add(s1, hn::LoadU(d, at + kWords));
    s2 = hn::Add(s2, hn::LoadU(d, at + 2 * kWords));
    s3 = hn::Add(s3, hn::LoadU(d, at + 3 * kWords));
    s4 = hn::Add(s4, hn::LoadU(d, at + 4 * kWords));
    s5 = hn::Add(s5, hn::LoadU(d, at + 5 * kWords));
    s6 = hn::Add(s6, hn::LoadU(d, at + 6 * kWords));
    s7 = hn::Add(s7, hn::LoadU(d, at + 7 * kWords));
  }
  const auto low = hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
  const auto high = hn::Add(hn::Add(s4, s5), hn::Add(s6, s7));
  return wrapping_sum(d, hn::Add(low, high));
}

uint64_t sum_page(const std::byte* data) {
  const hn::ScalableTag<uint64_t> d;
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < kStreamBlock / int64_t{sizeof(uint64_t)};
       i += static_cast<int64_t>(hn::Lanes(d))) {
    sum = hn::Add(sum, hn::LoadU(d, words + i));
  }
  return wrapping_sum(d, sum);
}

uint64_t sum_span(const std::byte* data, int64_t bytes) {
  uint64_t total = 0;
  int64_t offset = 0;
  for (; offset + kPages * kStreamBlock <= bytes; offset += kPages * kStreamBlock) {
    total += sum_pages(data + offset);
  }
  for (; offset < bytes; offset += kStreamBlock) {
    total += sum_page(data + offset);
  }
  return total;
}

}  // namespace lychee::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::cpu {

HWY_EXPORT(sum_span);

uint64_t read_stream(const std::byte* data, int64_t bytes) {
  constexpr int64_t kSpan = 64 * kStreamBlock;  // what a thread takes at a time
  const auto sum = HWY_DYNAMIC_DISPATCH(sum_span);
  uint64_t total = 0;
#pragma omp parallel for schedule(static) reduction(+ : total)
  for (int64_t offset = 0; offset < bytes; offset += kSpan) {
    total += sum(data + offset, HWY_MIN(kSpan, bytes - offset));
  }
  return total;
}

void copy_stream(const std::byte* from, std::byte* to, int64_t bytes) {
#pragma omp parallel for schedule(static)
  for (int64_t offset = 0; offset < bytes; offset += kStreamBlock) {
    std::memcpy(to + offset, from + offset, kStreamBlock);
  }
}

}  // namespace lychee::cpu
#endif
