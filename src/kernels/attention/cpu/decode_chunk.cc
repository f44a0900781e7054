#include "kernels/attention/cpu/decode_chunk.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu/decode_chunk.cc"
#include <hwy/foreach_target.h>  // compiles this file once per instruction set; before highway.h
#include <hwy/highway.h>

#include "kernels/attention/cpu/decode_tile_inl.h"
#include "kernels/cpu/exp2_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

// Query rows whose scores are on the stack at a time; larger groups go through a tile in turns.
constexpr int kMaxGroup = 16;

// Turns raw scores [kTile] into weights in place, measured from the new maximum; returns the factor
// that brings earlier sums to it.
template <class D>
HWY_INLINE float weigh_tile(D d, float scale_log2, int64_t num_tokens, float* scores,
                            SoftmaxState& state) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, scale_log2);
  std::fill(scores + num_tokens, scores + kTile, -std::numeric_limits<float>::infinity());
  auto max = hn::Set(d, state.max);
  for (int64_t i = 0; i < num_tokens; i += lanes) {
    const auto score = hn::Mul(scale, hn::LoadU(d, scores + i));
    hn::StoreU(score, d, scores + i);
    max = hn::Max(max, score);
  }
  const SoftmaxState old = state;
  state.max = hn::GetLane(hn::MaxOfLanes(d, max));
  const auto base = hn::Set(d, state.base());
  auto sum = hn::Zero(d);
  for (int64_t i = 0; i < num_tokens; i += lanes) {
    const auto weight =
        lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(d, hn::Sub(hn::LoadU(d, scores + i), base));
    hn::StoreU(weight, d, scores + i);
    sum = hn::Add(sum, weight);
  }
  const float rescale = hn::GetLane(
      lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(d, hn::Set(d, old.max - state.base())));
  state.sum = old.sum * rescale + hn::GetLane(hn::SumOfLanes(d, sum));
  return rescale;
}

template <class D>
HWY_INLINE void scale_row(D d, float factor, int head_dim, float* row) {
  namespace hn = hwy::HWY_NAMESPACE;
  for (int i = 0; i < head_dim; i += static_cast<int>(hn::Lanes(d))) {
    hn::StoreU(hn::Mul(hn::Set(d, factor), hn::LoadU(d, row + i)), d, row + i);
  }
}

// One tile for up to kMaxGroup query heads, beginning at `first_head`; the first turn also emits
// the mean query's scores.
template <class D, typename T>
void decode_tile(D d, const DecodeChunk& chunk, const TileTokens& tokens, const TileTokens* next,
                 int first_head, int64_t first_token) {
  HWY_ALIGN float scores[(kMaxGroup + 1) * kTile];
  const float* rows[kMaxGroup + 1];
  const int heads = std::min(chunk.group_size - first_head, kMaxGroup);
  for (int g = 0; g < heads; ++g) {
    rows[g] = chunk.q + int64_t{first_head + g} * chunk.head_dim;
  }
  rows[heads] = chunk.mean_q;
  const bool emit = chunk.mean_q != nullptr && first_head == 0;
  score_tile<D, T>(d, static_cast<const T*>(chunk.kv.k), tokens, next, rows, heads + (emit ? 1 : 0),
                   chunk.head_dim, scores);
  if (emit) {
    for (int64_t i = 0; i < tokens.count; ++i) {
      chunk.scores[token_in_turn(chunk, first_token + i)] = scores[heads * kTile + i];
    }
  }
  float* acc = chunk.acc + int64_t{first_head} * chunk.head_dim;
  for (int g = 0; g < heads; ++g) {
    const float rescale = weigh_tile(d, chunk.scale_log2, tokens.count, scores + g * kTile,
                                     chunk.states[first_head + g]);
    if (rescale != 1) {
      scale_row(d, rescale, chunk.head_dim, acc + int64_t{g} * chunk.head_dim);
    }
  }
  accumulate_tile<D, T>(d, static_cast<const T*>(chunk.kv.v), tokens, next, scores, heads,
                        chunk.head_dim, acc);
}

template <class D, typename T>
void decode_chunk_of(D d, const DecodeChunk& chunk) {
  std::fill_n(chunk.states, chunk.group_size, SoftmaxState{});
  std::fill_n(chunk.acc, int64_t{chunk.group_size} * chunk.head_dim, 0.0F);
  TileTokens tiles[2];
  find_tokens(chunk, 0, tiles[0]);
  for (int64_t first = 0, tile = 0; first < chunk.num_tokens; first += kTile, ++tile) {
    const TileTokens& tokens = tiles[tile % 2];
    TileTokens& next = tiles[(tile + 1) % 2];
    if (first + kTile < chunk.num_tokens) {
      find_tokens(chunk, first + kTile, next);
    }
    // The processor follows consecutive tokens better by itself.
    const bool fetch = chunk.ids != nullptr && first + kTile < chunk.num_tokens;
    for (int head = 0; head < chunk.group_size; head += kMaxGroup) {
      decode_tile<D, T>(d, chunk, tokens, fetch && head == 0 ? &next : nullptr, head, first);
    }
  }
}

template <typename T>
void decode_chunk_as(const DecodeChunk& chunk) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  if (chunk.head_dim % static_cast<int>(hn::Lanes(d)) == 0) {
    decode_chunk_of<decltype(d), T>(d, chunk);
  } else {
    const hn::CappedTag<float, 8> d8;  // head_dim is a multiple of 8
    decode_chunk_of<decltype(d8), T>(d8, chunk);
  }
}

void decode_chunk_target(const DecodeChunk& chunk) {
  if (chunk.kv.dtype == DType::kF16) {
    decode_chunk_as<f16>(chunk);
  } else if (chunk.kv.dtype == DType::kBF16) {
    decode_chunk_as<bf16>(chunk);
  } else {
    decode_chunk_as<float>(chunk);
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::attention::cpu {

HWY_EXPORT(decode_chunk_target);

void decode_chunk(const DecodeChunk& chunk) {
  HWY_DYNAMIC_DISPATCH(decode_chunk_target)(chunk);
}

}  // namespace lychee::attention::cpu
#endif
