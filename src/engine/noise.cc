#include <algorithm>
#include <vector>

#include "base/check.h"
#include "engine/engine_impl.h"
#include "kernels/attention/kv_append.h"

namespace lychee {

namespace {

// SplitMix64.
uint64_t next_random(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// The sum of four uniform bytes is close to normal and costs a fraction of an exact draw.
float near_normal(uint32_t bytes) {
  const auto sum = static_cast<float>((bytes & 0xff) + ((bytes >> 8) & 0xff) +
                                      ((bytes >> 16) & 0xff) + (bytes >> 24));
  constexpr float kMean = 4 * 127.5F;
  constexpr float kDeviation = 147.8F;  // sqrt(4 · (256² - 1) / 12)
  return (sum - kMean) / kDeviation;
}

void fill_noise(std::vector<float>& values, uint64_t& state) {
  for (size_t i = 0; i + 1 < values.size(); i += 2) {
    const uint64_t word = next_random(state);
    values[i] = near_normal(static_cast<uint32_t>(word));
    values[i + 1] = near_normal(static_cast<uint32_t>(word >> 32));
  }
  if (values.size() % 2 == 1) {
    values.back() = near_normal(static_cast<uint32_t>(next_random(state)));
  }
}

}  // namespace

void Engine::fill_cache_with_noise(Sequence& sequence, int64_t length, uint64_t seed) {
  const int64_t begin = sequence.length();
  require(length >= begin, ErrorCode::kInvalidArgument, "cannot fill a sequence of ", begin,
          " tokens up to ", length, "; truncate it first");
  if (length == begin) {
    return;
  }
  Sequence::Impl& target = *sequence.impl_;
  impl_->make_room(target, begin, length);
  target.uncorrected.clear();
  target.summaries.invalidate_from(begin);
  target.logits.clear();
  const ModelInfo& model = impl_->info;
  const int64_t row = int64_t{model.num_kv_heads} * model.head_dim;
  uint64_t state = seed;
  std::vector<float> k;
  std::vector<float> v;
  for (int64_t first = begin; first < length; first += attention::kPageSize) {
    const int64_t count = std::min<int64_t>(attention::kPageSize, length - first);
    k.resize(static_cast<size_t>(count * row));
    v.resize(static_cast<size_t>(count * row));
    for (int layer = 0; layer < model.num_layers; ++layer) {
      fill_noise(k, state);
      fill_noise(v, state);
      attention::cpu::kv_append({.num_tokens = static_cast<int>(count),
                                 .num_kv_heads = model.num_kv_heads,
                                 .head_dim = model.head_dim,
                                 .first_position = first,
                                 .k = k.data(),
                                 .v = v.data(),
                                 .row_stride = row,
                                 .page_table = target.table.pages().data(),
                                 .kv = impl_->cache->layer(layer)});
    }
    for (int64_t i = 0; i < count; ++i) {
      target.token_ids.push_back(
          static_cast<int32_t>(next_random(state) % static_cast<uint64_t>(model.vocab_size)));
    }
  }
}

}  // namespace lychee
