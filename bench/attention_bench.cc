// Attention kernels on the CPU, each with the read floor of its bytes measured in the same run.
// SmolLM2-135M's shape: 9 query heads, 3 KV heads, head_dim 64, f16 cache.
//   attention_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "base/math.h"
#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/kv_append.h"
#include "kernels/attention/paged_kv.h"
#include "kernels/attention/prefill_attention.h"
#include "kernels/attention/select_tokens.h"
#include "tensor/buffer.h"

namespace lychee::attention {
namespace {

constexpr int kQHeads = 9;
constexpr int kKvHeads = 3;
constexpr int kHeadDim = 64;
constexpr int kLayers = 30;  // distinct caches in rotation, so that a step finds none in L2

std::vector<float> random_values(int64_t count) {
  std::mt19937 engine(7);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return normal(engine); });
  return values;
}

// Caches of `layers` layers of one sequence, pages shuffled within each.
struct Caches {
  Caches(int num_layers, int64_t kv_len)
      : pages(static_cast<size_t>(ceil_div<int64_t>(kv_len, kPageSize))) {
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(3));
    const int64_t page_stride = int64_t{kKvHeads} * kPageSize * kHeadDim;
    const int64_t count = static_cast<int64_t>(pages.size()) * page_stride;
    const std::vector<float> values = random_values(1 << 16);
    for (int layer = 0; layer < num_layers; ++layer) {
      k.emplace_back(2 * count);
      v.emplace_back(2 * count);
      layers.push_back({DType::kF16, k.back().data(), v.back().data(), page_stride,
                        int64_t{kPageSize} * kHeadDim, kHeadDim});
      for (int64_t i = 0; i < count; ++i) {
        const float value = values[static_cast<size_t>((i * 31 + layer) % (1 << 16))];
        store_kv(DType::kF16, layers.back().k, i, value);
        store_kv(DType::kF16, layers.back().v, i, value);
      }
    }
  }
  std::vector<int32_t> pages;
  std::vector<Buffer> k, v;
  std::vector<PagedKv> layers;
};

uint64_t read_words(const std::byte* data, int64_t bytes) {
  uint64_t sum[8] = {};
  for (int64_t i = 0; i + 64 <= bytes; i += 64) {
    uint64_t words[8];
    std::memcpy(words, data + i, 64);
    for (int w = 0; w < 8; ++w) {
      sum[w] += words[w];
    }
  }
  return std::accumulate(sum, sum + 8, uint64_t{0});
}

// The floor of dense decode: a plain loop over the same caches, one thread per part of a page
// range.
void BM_ReadFloorDense(benchmark::State& state) {
  const int64_t kv_len = state.range(0);
  Caches caches(kLayers, kv_len);
  size_t layer = 0;
  for (auto _ : state) {
    const int64_t half = caches.k[layer].bytes() / 2;
    uint64_t sum = 0;
#pragma omp parallel for reduction(+ : sum)
    for (int part = 0; part < 4; ++part) {
      const Buffer& buffer = part < 2 ? caches.k[layer] : caches.v[layer];
      sum += read_words(buffer.data() + part % 2 * half, half);
    }
    benchmark::DoNotOptimize(sum);
    layer = (layer + 1) % kLayers;
  }
  state.SetBytesProcessed(state.iterations() * 2 * caches.k[0].bytes());
}

// A layer's decode attention; `budget` 0 is dense, else random token sets of that size.
struct DecodeCall {
  DecodeCall(Caches& caches, int64_t length, int64_t budget, bool emit)
      : kv_len(length),
        q(random_values(kQHeads * kHeadDim)),
        out(q.size()),
        scores(static_cast<size_t>(kKvHeads * length)),
        sets(kKvHeads, HybridDecodeParams::kDense),
        num_ids(kKvHeads, static_cast<int32_t>(budget)),
        emits(kKvHeads, emit ? 1 : 0) {
    std::mt19937 engine(11);
    std::vector<int32_t> all(static_cast<size_t>(length));
    std::iota(all.begin(), all.end(), 0);
    for (int head = 0; budget > 0 && head < kKvHeads; ++head) {
      sets[static_cast<size_t>(head)] = head;
      std::vector<int32_t> ids;
      std::sample(all.begin(), all.end(), std::back_inserter(ids), budget, engine);
      token_ids.insert(token_ids.end(), ids.begin(), ids.end());
    }
    params = {.batch = 1,
              .num_q_heads = kQHeads,
              .num_kv_heads = kKvHeads,
              .head_dim = kHeadDim,
              .scale = 0.125F,
              .q = q.data(),
              .page_tables = caches.pages.data(),
              .page_table_stride = static_cast<int64_t>(caches.pages.size()),
              .kv_lens = &kv_len,
              .kv = caches.layers[0],
              .set_of_head = sets.data(),
              .token_ids = token_ids.data(),
              .token_ids_stride = budget,
              .num_ids = num_ids.data(),
              .scores = scores.data(),
              .scores_stride = length,
              .emit_scores = emits.data(),
              .out = out.data(),
              .lse = nullptr,
              .workspace = nullptr};
    workspace = Buffer(cpu::hybrid_decode_workspace_bytes(params));
    params.workspace = workspace.data();
  }
  int64_t kv_len;
  std::vector<float> q, out, scores;
  std::vector<int32_t> sets, num_ids, token_ids;
  std::vector<uint8_t> emits;
  Buffer workspace;
  HybridDecodeParams params{};
};

void run_decode(benchmark::State& state, int64_t budget, bool emit) {
  const int64_t kv_len = state.range(0);
  Caches caches(kLayers, kv_len);
  DecodeCall call(caches, kv_len, budget, emit);
  size_t layer = 0;
  for (auto _ : state) {
    call.params.kv = caches.layers[layer];
    cpu::hybrid_decode(call.params);
    layer = (layer + 1) % kLayers;
  }
  const int64_t tokens = budget == 0 ? kv_len : budget;
  state.SetBytesProcessed(state.iterations() * tokens * kKvHeads * kHeadDim * 4);
}

void BM_DecodeDense(benchmark::State& state) {
  run_decode(state, 0, false);
}
void BM_DecodeDenseWithScores(benchmark::State& state) {
  run_decode(state, 0, true);
}
void BM_DecodeSparse1024(benchmark::State& state) {
  run_decode(state, 1024, false);
}

// The floor of sparse decode: the same rows, touched in the same order by a plain loop.
void BM_ReadFloorSparse1024(benchmark::State& state) {
  const int64_t kv_len = state.range(0);
  Caches caches(kLayers, kv_len);
  const DecodeCall call(caches, kv_len, 1024, false);
  size_t layer = 0;
  for (auto _ : state) {
    const PagedKv kv = caches.layers[layer];
    uint64_t sum = 0;
#pragma omp parallel for reduction(+ : sum)
    for (int64_t i = 0; i < int64_t{kKvHeads} * 1024; ++i) {
      const int64_t at =
          2 * kv_offset(kv, caches.pages.data(), call.token_ids[static_cast<size_t>(i)], i / 1024);
      sum += read_words(static_cast<std::byte*>(kv.k) + at, 2 * kHeadDim);
      sum += read_words(static_cast<std::byte*>(kv.v) + at, 2 * kHeadDim);
    }
    benchmark::DoNotOptimize(sum);
    layer = (layer + 1) % kLayers;
  }
  state.SetBytesProcessed(state.iterations() * 1024 * kKvHeads * kHeadDim * 4);
}

// One layer's causal attention over a prompt of range(0) tokens in chunks of range(1).
void BM_Prefill(benchmark::State& state) {
  const int64_t length = state.range(0);
  const int64_t chunk = state.range(1);
  Caches caches(1, length);
  const std::vector<float> q = random_values(chunk * kQHeads * kHeadDim);
  std::vector<float> out(q.size());
  PrefillAttentionParams params{.num_tokens = static_cast<int>(chunk),
                                .num_q_heads = kQHeads,
                                .num_kv_heads = kKvHeads,
                                .head_dim = kHeadDim,
                                .scale = 0.125F,
                                .first_position = 0,
                                .q = q.data(),
                                .q_row_stride = kQHeads * kHeadDim,
                                .page_table = caches.pages.data(),
                                .kv = caches.layers[0],
                                .out = out.data(),
                                .exact = true,
                                .workspace = nullptr};
  Buffer workspace(cpu::prefill_attention_workspace_bytes(params));
  params.workspace = workspace.data();
  for (auto _ : state) {
    for (int64_t first = 0; first < length; first += chunk) {
      params.first_position = first;
      cpu::prefill_attention(params);
    }
  }
  const double pairs = 0.5 * static_cast<double>(length) * static_cast<double>(length + 1);
  state.counters["FLOP/s"] =
      benchmark::Counter(4.0 * kQHeads * kHeadDim * pairs * static_cast<double>(state.iterations()),
                         benchmark::Counter::kIsRate);
}

void BM_SelectTokens(benchmark::State& state) {
  const int64_t kv_len = state.range(0);
  const std::vector<float> scores = random_values(kv_len * 2);
  const std::vector<int64_t> kv_lens(2, kv_len);
  std::vector<int32_t> ids(static_cast<size_t>(2 * kv_len));
  std::vector<int32_t> num_ids(2);
  SelectTokensParams params{.num_rows = 2,
                            .scores = scores.data(),
                            .scores_stride = kv_len,
                            .kv_lens = kv_lens.data(),
                            .selection = {.mode = static_cast<SelectMode>(state.range(1))},
                            .scale = 0.125F,
                            .token_ids = ids.data(),
                            .token_ids_stride = kv_len,
                            .num_ids = num_ids.data(),
                            .workspace = nullptr};
  Buffer workspace(cpu::select_tokens_workspace_bytes(params) + 64);
  params.workspace = workspace.data();
  for (auto _ : state) {
    cpu::select_tokens(params);
  }
  state.SetItemsProcessed(state.iterations() * 2 * kv_len);
  state.SetLabel(std::string(select_mode_name(params.selection.mode)));
}

BENCHMARK(BM_ReadFloorDense)->Arg(8192)->UseRealTime();
BENCHMARK(BM_DecodeDense)->Arg(8192)->UseRealTime();
BENCHMARK(BM_DecodeDenseWithScores)->Arg(8192)->UseRealTime();
BENCHMARK(BM_ReadFloorSparse1024)->Arg(8192)->UseRealTime();
BENCHMARK(BM_DecodeSparse1024)->Arg(8192)->UseRealTime();
BENCHMARK(BM_Prefill)
    ->Args({2048, 512})
    ->Args({8192, 512})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_SelectTokens)
    ->ArgsProduct({{8192, 131072, 1 << 20}, {0, 1, 2, 3, 4}})
    ->UseRealTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lychee::attention
