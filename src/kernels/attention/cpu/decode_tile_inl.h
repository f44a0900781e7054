// The two products of decode attention over a tile of tokens: scores = q · Kᵀ and acc += weights ·
// V. Compiled once per instruction set.
#if defined(LYCHEE_KERNELS_ATTENTION_CPU_DECODE_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LYCHEE_KERNELS_ATTENTION_CPU_DECODE_TILE_INL_H_
#undef LYCHEE_KERNELS_ATTENTION_CPU_DECODE_TILE_INL_H_
#else
#define LYCHEE_KERNELS_ATTENTION_CPU_DECODE_TILE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/attention/cpu/decode_chunk.h"
#include "kernels/cpu/load_inl.h"
#include "kernels/cpu/sum_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::attention::cpu::HWY_NAMESPACE {

constexpr int kTile = 64;    // tokens
constexpr int kTokens = 4;   // scored at once, because four sums reduce as cheaply as one
constexpr int kColumns = 4;  // vectors of V accumulated at once
// Query rows at once: kRows · kTokens accumulators and their operands must fit the registers, 32 on
// AVX-512 and NEON, 16 elsewhere.
constexpr int kMaxRows = HWY_CAP_GE512 || HWY_TARGET == HWY_NEON ? 4 : 2;

struct TileTokens {
  int64_t count;
  int64_t offsets[kTile];  // elements from the KV head's `k` or `v`; padded with the last one
};

// Which token of a chunk is the n-th to be read: four quarters in turns, so that the processor sees
// four streams and prefetches four times as far ahead as in one. Sets are read in the same order,
// so that a set of all tokens equals dense to the bit.
inline int64_t token_in_turn(const DecodeChunk& chunk, int64_t n) {
  const int64_t quarter = chunk.num_tokens / kTokens;
  return n < quarter * kTokens ? n % kTokens * quarter + n / kTokens : n;
}

inline void find_tokens(const DecodeChunk& chunk, int64_t first, TileTokens& tokens) {
  tokens.count = std::min<int64_t>(chunk.num_tokens - first, kTile);
  for (int64_t i = 0; i < tokens.count; ++i) {
    const int64_t token = token_in_turn(chunk, first + i);
    const auto position = static_cast<uint64_t>(chunk.ids == nullptr ? chunk.first_position + token
                                                                     : chunk.ids[token]);
    tokens.offsets[i] = chunk.page_table[position / kPageSize] * chunk.kv.page_stride +
                        static_cast<int64_t>(position % kPageSize) * chunk.kv.token_stride;
  }
  for (int64_t i = tokens.count; i % kTokens != 0; ++i) {
    tokens.offsets[i] = tokens.offsets[tokens.count - 1];
  }
}

// A gather of rows of one or a few cache lines defeats hardware prefetching. To the second-level
// cache: lines on their way to the first are few.
template <typename T>
HWY_INLINE void prefetch_row(const T* row, int head_dim) {
  constexpr int kLine = 64 / static_cast<int>(sizeof(T));
  constexpr int kSecondLevel = 2;
  for (int i = 0; i < head_dim; i += kLine) {
    __builtin_prefetch(row + i, 0, kSecondLevel);
  }
}

// scores[r, t] = q[r] · k[t] for kTokens tokens; rows of `scores` are kTile apart.
template <int kRows, class D, typename T>
HWY_INLINE void score_tokens(D d, const T* k, const int64_t* offsets, const float* const* q,
                             int head_dim, float* scores) {
  namespace hn = hwy::HWY_NAMESPACE;
  hn::Vec<D> sums[kRows][kTokens];
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) {
      sums[r][t] = hn::Zero(d);
    }
  }
  for (int i = 0; i < head_dim; i += static_cast<int>(hn::Lanes(d))) {
    hn::Vec<D> keys[kTokens];
    for (int t = 0; t < kTokens; ++t) {
      keys[t] = lychee::cpu::HWY_NAMESPACE::load_f32(d, k + offsets[t] + i);
    }
    for (int r = 0; r < kRows; ++r) {
      const auto query = hn::LoadU(d, q[r] + i);
      for (int t = 0; t < kTokens; ++t) {
        sums[r][t] = hn::MulAdd(query, keys[t], sums[r][t]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    lychee::cpu::HWY_NAMESPACE::store_four_sums(d, sums[r][0], sums[r][1], sums[r][2], sums[r][3],
                                                scores + r * kTile);
  }
}

template <int kRows, class D, typename T>
HWY_NOINLINE void score_rows(D d, const T* k, const TileTokens& tokens, const TileTokens* next,
                             const float* const* q, int head_dim, float* scores) {
  for (int64_t t = 0; t < tokens.count; t += kTokens) {
    if (next != nullptr) {
      for (int64_t ahead = t; ahead < std::min(t + kTokens, next->count); ++ahead) {
        prefetch_row(k + next->offsets[ahead], head_dim);
      }
    }
    score_tokens<kRows>(d, k, tokens.offsets + t, q, head_dim, scores + t);
  }
}

// acc[r, column …] += sum over tokens of weights[r, t] · v[t, column …].
template <int kRows, int kCols, class D, typename T>
HWY_INLINE void accumulate_columns(D d, const T* v, const TileTokens& tokens,
                                   const TileTokens* next, const float* weights, int head_dim,
                                   float* acc) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[kRows][kCols];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) {
      sums[r][c] = hn::LoadU(d, acc + int64_t{r} * head_dim + c * lanes);
    }
  }
  for (int64_t t = 0; t < tokens.count; ++t) {
    if (next != nullptr && t < next->count) {
      prefetch_row(v + next->offsets[t], head_dim);
    }
    hn::Vec<D> values[kCols];
    for (int c = 0; c < kCols; ++c) {
      values[c] = lychee::cpu::HWY_NAMESPACE::load_f32(d, v + tokens.offsets[t] + c * lanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const auto weight = hn::Set(d, weights[r * kTile + t]);
      for (int c = 0; c < kCols; ++c) {
        sums[r][c] = hn::MulAdd(weight, values[c], sums[r][c]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kCols; ++c) {
      hn::StoreU(sums[r][c], d, acc + int64_t{r} * head_dim + c * lanes);
    }
  }
}

template <int kRows, class D, typename T>
HWY_NOINLINE void accumulate_rows(D d, const T* v, const TileTokens& tokens, const TileTokens* next,
                                  const float* weights, int head_dim, float* acc) {
  const auto lanes = static_cast<int>(hwy::HWY_NAMESPACE::Lanes(d));
  int i = 0;
  for (; i + kColumns * lanes <= head_dim; i += kColumns * lanes) {
    accumulate_columns<kRows, kColumns>(d, v + i, tokens, i == 0 ? next : nullptr, weights,
                                        head_dim, acc + i);
  }
  for (; i < head_dim; i += lanes) {
    accumulate_columns<kRows, 1>(d, v + i, tokens, i == 0 ? next : nullptr, weights, head_dim,
                                 acc + i);
  }
}

template <int kRows, class D, typename T>
void score_block(D d, int rows, const T* k, const TileTokens& tokens, const TileTokens* next,
                 const float* const* q, int head_dim, float* scores) {
  if (rows == kRows) {
    score_rows<kRows>(d, k, tokens, next, q, head_dim, scores);
  } else if constexpr (kRows > 1) {
    score_block<kRows - 1>(d, rows, k, tokens, next, q, head_dim, scores);
  }
}

template <int kRows, class D, typename T>
void accumulate_block(D d, int rows, const T* v, const TileTokens& tokens, const TileTokens* next,
                      const float* weights, int head_dim, float* acc) {
  if (rows == kRows) {
    accumulate_rows<kRows>(d, v, tokens, next, weights, head_dim, acc);
  } else if constexpr (kRows > 1) {
    accumulate_block<kRows - 1>(d, rows, v, tokens, next, weights, head_dim, acc);
  }
}

// scores[r, t] = q[r] · k[t]; `next` is the tile to fetch meanwhile, or null.
template <class D, typename T>
HWY_INLINE void score_tile(D d, const T* k, const TileTokens& tokens, const TileTokens* next,
                           const float* const* q, int num_rows, int head_dim, float* scores) {
  for (int row = 0, blocks = (num_rows + kMaxRows - 1) / kMaxRows; blocks > 0; --blocks) {
    const int rows = (num_rows - row + blocks - 1) / blocks;
    score_block<kMaxRows>(d, rows, k, tokens, row == 0 ? next : nullptr, q + row, head_dim,
                          scores + row * kTile);
    row += rows;
  }
}

// acc[r] += sum over tokens of weights[r, t] · v[t].
template <class D, typename T>
HWY_INLINE void accumulate_tile(D d, const T* v, const TileTokens& tokens, const TileTokens* next,
                                const float* weights, int num_rows, int head_dim, float* acc) {
  for (int row = 0, blocks = (num_rows + kMaxRows - 1) / kMaxRows; blocks > 0; --blocks) {
    const int rows = (num_rows - row + blocks - 1) / blocks;
    accumulate_block<kMaxRows>(d, rows, v, tokens, row == 0 ? next : nullptr, weights + row * kTile,
                               head_dim, acc + int64_t{row} * head_dim);
    row += rows;
  }
}

}  // namespace lychee::attention::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
