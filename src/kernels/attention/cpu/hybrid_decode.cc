#include "kernels/attention/hybrid_decode.h"

#include <algorithm>
#include <cstddef>
#include <numbers>

#include "base/math.h"
#include "kernels/attention/cpu/decode_chunk.h"
#include "kernels/attention/paged_kv.h"

namespace lychee::attention::cpu {

namespace {

// Chunks are cut by position alone, so that results depend neither on threads nor on the batch: at
// least 256 tokens, enough to hide the merge, and at most 128 chunks.
constexpr int64_t kMinChunkTokens = 256;
constexpr int64_t kMaxChunks = 128;

int64_t chunk_tokens(int64_t num_tokens) {
  return std::max(kMinChunkTokens, round_up<int64_t>(ceil_div(num_tokens, kMaxChunks), kPageSize));
}

int64_t count_chunks(int64_t num_tokens) {
  return ceil_div(num_tokens, chunk_tokens(num_tokens));
}

int group_size_of(const HybridDecodeParams& params) {
  return params.num_q_heads / params.num_kv_heads;
}

int64_t count_items(const HybridDecodeParams& params) {
  return int64_t{params.batch} * params.num_kv_heads;
}

// Scratch of one call; an item is a (row, KV head).
struct Scratch {
  int64_t* first_chunks;  // [items + 1], prefix sums
  float* mean_q;          // [items, head_dim]
  SoftmaxState* states;   // [chunks, group_size]
  float* acc;             // [chunks, group_size, head_dim]
};

// Cuts `memory` (null: only measures) and returns the bytes used.
int64_t carve(const HybridDecodeParams& params, int64_t num_chunks, std::byte* memory,
              Scratch& scratch) {
  constexpr int64_t kLine = 64;
  int64_t used = 0;
  const auto take = [&](int64_t bytes) {
    std::byte* at = memory == nullptr ? nullptr : memory + used;
    used += round_up(bytes, kLine);
    return at;
  };
  const auto float_bytes = static_cast<int64_t>(sizeof(float));
  const int64_t items = count_items(params);
  const int64_t states = num_chunks * group_size_of(params);
  scratch.first_chunks =
      reinterpret_cast<int64_t*>(take((items + 1) * static_cast<int64_t>(sizeof(int64_t))));
  scratch.mean_q = reinterpret_cast<float*>(take(items * params.head_dim * float_bytes));
  scratch.states =
      reinterpret_cast<SoftmaxState*>(take(states * static_cast<int64_t>(sizeof(SoftmaxState))));
  scratch.acc = reinterpret_cast<float*>(take(states * params.head_dim * float_bytes));
  return used;
}

bool is_dense(const HybridDecodeParams& params, int64_t item) {
  return params.set_of_head[item] == HybridDecodeParams::kDense;
}

int64_t count_tokens(const HybridDecodeParams& params, int64_t item) {
  return is_dense(params, item) ? params.kv_lens[item / params.num_kv_heads]
                                : params.num_ids[params.set_of_head[item]];
}

bool emits_scores(const HybridDecodeParams& params, int64_t item) {
  return params.scores != nullptr && params.emit_scores != nullptr &&
         params.emit_scores[item] != 0 && is_dense(params, item);
}

void find_mean_query(const HybridDecodeParams& params, int64_t item, float* mean) {
  const int group_size = group_size_of(params);
  const float* q = params.q + item * group_size * params.head_dim;
  std::copy_n(q, params.head_dim, mean);
  for (int g = 1; g < group_size; ++g) {
    for (int d = 0; d < params.head_dim; ++d) {
      mean[d] += q[int64_t{g} * params.head_dim + d];
    }
  }
  for (int d = 0; d < params.head_dim; ++d) {
    mean[d] /= static_cast<float>(group_size);
  }
}

void* advance(DType dtype, void* base, int64_t elements) {
  return static_cast<std::byte*>(base) + dtype_bytes(dtype, elements);
}

DecodeChunk make_chunk(const HybridDecodeParams& params, const Scratch& scratch, int64_t item,
                       int64_t chunk) {
  const int group_size = group_size_of(params);
  const int64_t row = item / params.num_kv_heads;
  const int64_t head = item % params.num_kv_heads;
  const int64_t total = count_tokens(params, item);
  const int64_t first = (chunk - scratch.first_chunks[item]) * chunk_tokens(total);
  const bool dense = is_dense(params, item);
  const bool emit = emits_scores(params, item);
  PagedKv kv = params.kv;
  kv.k = advance(kv.dtype, kv.k, head * kv.head_stride);
  kv.v = advance(kv.dtype, kv.v, head * kv.head_stride);
  return {
      .group_size = group_size,
      .head_dim = params.head_dim,
      .scale_log2 = params.scale * std::numbers::log2e_v<float>,
      .q = params.q + item * group_size * params.head_dim,
      .mean_q = emit ? scratch.mean_q + item * params.head_dim : nullptr,
      .kv = kv,
      .page_table = params.page_tables + row * params.page_table_stride,
      .ids = dense ? nullptr
                   : params.token_ids + params.set_of_head[item] * params.token_ids_stride + first,
      .first_position = first,
      .num_tokens = std::min(total - first, chunk_tokens(total)),
      .scores = emit ? params.scores + item * params.scores_stride + first : nullptr,
      .states = scratch.states + chunk * group_size,
      .acc = scratch.acc + chunk * group_size * params.head_dim};
}

void merge_row(const HybridDecodeParams& params, const Scratch& scratch, int64_t q_row) {
  const int group_size = group_size_of(params);
  const int64_t item = q_row / group_size;
  const int64_t first = scratch.first_chunks[item] * group_size + q_row % group_size;
  const SoftmaxState state =
      merge_states(scratch.states + first, group_size, scratch.acc + first * params.head_dim,
                   int64_t{group_size} * params.head_dim,
                   scratch.first_chunks[item + 1] - scratch.first_chunks[item], params.head_dim,
                   params.out + q_row * params.head_dim);
  if (params.lse != nullptr) {
    params.lse[q_row] = state.lse();
  }
}

}  // namespace

int64_t hybrid_decode_workspace_bytes(const HybridDecodeParams& params) {
  const int64_t max_tokens =
      std::max(params.page_table_stride * kPageSize, params.token_ids_stride);
  const int64_t max_chunks =
      std::clamp<int64_t>(ceil_div(max_tokens, kMinChunkTokens), 1, kMaxChunks);
  Scratch scratch{};
  return carve(params, count_items(params) * max_chunks, nullptr, scratch);
}

void hybrid_decode(const HybridDecodeParams& params) {
  require_kv_dtype(params.kv);
  require_head_dim(params.head_dim);
  require(params.rounded_out == nullptr, ErrorCode::kUnsupported,
          "rounded_out is for the CUDA backend alone");
  const int64_t items = count_items(params);
  int64_t num_chunks = 0;
  for (int64_t item = 0; item < items; ++item) {
    num_chunks += count_chunks(count_tokens(params, item));
  }
  Scratch scratch{};
  carve(params, num_chunks, static_cast<std::byte*>(params.workspace), scratch);
  scratch.first_chunks[0] = 0;
  for (int64_t item = 0; item < items; ++item) {
    scratch.first_chunks[item + 1] =
        scratch.first_chunks[item] + count_chunks(count_tokens(params, item));
    if (emits_scores(params, item)) {
      find_mean_query(params, item, scratch.mean_q + item * params.head_dim);
    }
  }
#pragma omp parallel if (num_chunks > 1)
  {
#pragma omp for schedule(dynamic)
    for (int64_t chunk = 0; chunk < num_chunks; ++chunk) {
      int64_t* const end = scratch.first_chunks + items + 1;
      const int64_t item =
          std::upper_bound(scratch.first_chunks, end, chunk) - scratch.first_chunks - 1;
      decode_chunk(make_chunk(params, scratch, item, chunk));
    }
#pragma omp for
    for (int64_t q_row = 0; q_row < int64_t{params.batch} * params.num_q_heads; ++q_row) {
      merge_row(params, scratch, q_row);
    }
  }
}

}  // namespace lychee::attention::cpu
