#include "kernels/hybrid_decode_call.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ostream>
#include <string_view>

#include "kernels/attention/hybrid_decode.h"
#include "kernels/attention/rotate_append.h"

namespace lychee::attention {

namespace {
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
}  // namespace

void PrintTo(const HybridDecodeCase& c, std::ostream* out) {
  *out << c.name;
}

const std::vector<HybridDecodeCase>& hybrid_decode_cases() {
  static const std::vector<HybridDecodeCase> kCases = {
      {"one_token", {1}, 8, 8, 64, "s"},
      {"smollm2", {600}, 9, 3, 64, "sdh"},
      {"mha", {53, 61, 129}, 4, 4, 64, "dsah", 8},
      {"gqa_128", {300}, 16, 4, 128, "sdeh"},
      {"mqa_16", {257}, 16, 1, 64, "s"},
      {"group_of_7", {130, 64}, 14, 2, 64, "hs"},
      {"group_of_6_128", {63, 65}, 12, 2, 128, "1s", 8},
      {"group_of_20", {70}, 40, 2, 16, "sh"},
      {"dim_8", {53}, 2, 2, 8, "sh"},
      {"dim_16", {61, 200}, 6, 3, 16, "shed"},
      {"dim_24", {129}, 4, 2, 24, "sh", 8},
      {"dim_40", {129}, 3, 1, 40, "s"},
      {"dim_80", {255}, 4, 2, 80, "hs"},
      {"dim_96", {255}, 4, 2, 96, "sa"},
      {"dim_256", {77}, 4, 2, 256, "sh", 24},
      {"mqa_16_128", {400, 33}, 16, 1, 128, "sh"},
      {"many_kv_heads", {150, 90}, 64, 32, 64, "shda"},
      {"more_kv_heads", {150}, 40, 40, 64, "shd"},
      {"ragged_parts", {9000, 17, 4100, 300}, 8, 2, 128, "shda"},
      {"several_chunks", {1537, 3, 700}, 4, 2, 32, "shahed"},
      {"empty_sets", {40, 9}, 4, 2, 64, "e"},
      {"long", {40001}, 2, 1, 8, "s"},
  };
  return kCases;
}

HybridDecodeCall::HybridDecodeCall(const HybridDecodeCase& c, DType dtype)
    : random(test::kSeed),
      kv_lens(c.kv_lens),
      cache(dtype, c.num_kv_heads, c.head_dim, c.kv_lens, c.stride_padding, random) {
  const auto batch = static_cast<int64_t>(kv_lens.size());
  const int64_t items = batch * c.num_kv_heads;
  const int64_t max_len = *std::max_element(kv_lens.begin(), kv_lens.end());
  q = random.normals(batch * c.num_q_heads * c.head_dim);
  out.assign(q.size(), kNan);
  lse.assign(static_cast<size_t>(batch * c.num_q_heads), kNan);
  scores.assign(static_cast<size_t>(items * (max_len + 3)), kNan);
  token_ids.assign(static_cast<size_t>(items * (max_len + 5)), std::numeric_limits<int32_t>::max());
  const std::string_view heads = c.heads;
  for (int64_t item = 0; item < items; ++item) {
    const char kind = heads[static_cast<size_t>(item) % heads.size()];
    const int64_t kv_len = kv_lens[static_cast<size_t>(item / c.num_kv_heads)];
    const bool dense = kind == 'd' || kind == 's';
    set_of_head.push_back(dense ? HybridDecodeParams::kDense : static_cast<int32_t>(item));
    emit.push_back(kind == 's' ? 1 : 0);
    num_ids.push_back(dense ? 0 : make_set(kind, kv_len, item * (max_len + 5)));
  }
  params = {.batch = static_cast<int>(batch),
            .num_q_heads = c.num_q_heads,
            .num_kv_heads = c.num_kv_heads,
            .head_dim = c.head_dim,
            .scale = 1 / std::sqrt(static_cast<float>(c.head_dim)),
            .q = q.data(),
            .page_tables = cache.page_tables(),
            .page_table_stride = cache.page_table_stride(),
            .kv_lens = kv_lens.data(),
            .kv = cache.view(),
            .set_of_head = set_of_head.data(),
            .token_ids = token_ids.data(),
            .token_ids_stride = max_len + 5,
            .num_ids = num_ids.data(),
            .scores = scores.data(),
            .scores_stride = max_len + 3,
            .emit_scores = emit.data(),
            .out = out.data(),
            .lse = lse.data(),
            .workspace = nullptr};
}

int32_t HybridDecodeCall::make_set(char kind, int64_t kv_len, int64_t at) {
  std::vector<int32_t> ids(static_cast<size_t>(kv_len));
  std::iota(ids.begin(), ids.end(), 0);
  random.shuffle(ids);
  const int64_t count =
      kind == 'e' ? 0 : (kind == '1' ? 1 : (kind == 'h' ? (kv_len + 1) / 2 : kv_len));
  std::copy_n(ids.begin(), count, token_ids.begin() + at);
  return static_cast<int32_t>(count);
}

void HybridDecodeCall::run_cpu() {
  workspace = Buffer(cpu::hybrid_decode_workspace_bytes(params) + 64);
  std::fill_n(workspace.data(), workspace.bytes(), std::byte{0xff});
  params.workspace = workspace.data();
  cpu::hybrid_decode(params);
}

void HybridDecodeCall::run_cuda(int num_runs, int64_t only_row, Newest handled) {
  test::DeviceMirror mirror;
  HybridDecodeParams p = params;
  float* const queries = mirror.output(q);
  p.q = queries;
  p.page_tables = cache.page_tables_on(mirror);
  p.kv_lens = mirror.input(kv_lens);
  p.kv = cache.view_on(mirror);
  p.set_of_head = mirror.input(set_of_head);
  p.token_ids = mirror.input(token_ids);
  p.num_ids = mirror.input(num_ids);
  p.scores = params.scores == nullptr ? nullptr : mirror.output(scores);
  p.emit_scores = params.emit_scores == nullptr ? nullptr : mirror.input(emit);
  p.out = params.out == nullptr ? nullptr : mirror.output(out);
  p.rounded_out = rounded_out.empty() ? nullptr : mirror.output(rounded_out);
  p.lse = params.lse == nullptr ? nullptr : mirror.output(lse);
  p.workspace = mirror.scratch(cuda::hybrid_decode_workspace_bytes(p));
  const int64_t arrivals_bytes =
      cuda::hybrid_decode_num_arrivals(p) * static_cast<int64_t>(sizeof(int32_t));
  p.arrivals = static_cast<int32_t*>(mirror.scratch(arrivals_bytes, 0));
  if (only_row >= 0) {
    select_row(p, only_row);
  }
  if (handled != Newest::kStored) {
    p.newest = newest_on(mirror);
  }
  if (handled == Newest::kApart) {
    cuda::rotate_append_rows({.batch = p.batch,
                              .num_q_heads = p.num_q_heads,
                              .num_kv_heads = p.num_kv_heads,
                              .head_dim = p.head_dim,
                              .q = queries,
                              .q_stride = int64_t{p.num_q_heads} * p.head_dim,
                              .newest = p.newest,
                              .page_tables = p.page_tables,
                              .page_table_stride = p.page_table_stride,
                              .kv_lens = p.kv_lens,
                              .kv = p.kv},
                             mirror.stream());
    p.newest = {};
  }
  for (int run = 0; run < num_runs; ++run) {  // counters must come back to zero
    cuda::hybrid_decode(p, mirror.stream());
  }
  mirror.finish();
}

void HybridDecodeCall::make_newest(bool norms) {
  const int64_t row = 2 * int64_t{params.num_kv_heads} * params.head_dim;
  params.newest.kv_stride = row + 8;
  newest_kv = random.normals(params.batch * params.newest.kv_stride);
  rope_table = random.normals(int64_t{params.batch} * params.head_dim);
  q_norm = random.normals(params.head_dim);
  k_norm = random.normals(params.head_dim);
  has_norms = norms;
}

NewestTokens HybridDecodeCall::newest_on(test::DeviceMirror& mirror) {
  const float* const kv = mirror.input(newest_kv);
  return {.k = kv,
          .v = kv + int64_t{params.num_kv_heads} * params.head_dim,
          .kv_stride = params.newest.kv_stride,
          .q_norm = has_norms ? mirror.input(q_norm) : nullptr,
          .k_norm = has_norms ? mirror.input(k_norm) : nullptr,
          .norm_eps = 1e-5F,
          .rope_table = mirror.input(rope_table)};
}

void HybridDecodeCall::run_row(const Backend& backend, int64_t row) {
  if (backend.cuda) {
    run_cuda(1, row);
    return;
  }
  select_row(params, row);
  run_cpu();
}

void HybridDecodeCall::select_row(HybridDecodeParams& p, int64_t row) {
  p.batch = 1;
  p.q += row * p.num_q_heads * p.head_dim;
  p.page_tables += row * p.page_table_stride;
  p.kv_lens += row;
  p.set_of_head += row * p.num_kv_heads;
  p.emit_scores += row * p.num_kv_heads;
  p.scores += row * p.num_kv_heads * p.scores_stride;
  p.out += row * p.num_q_heads * p.head_dim;
  p.lse += row * p.num_q_heads;
}

void HybridDecodeCall::run(const Backend& backend) {
  backend.cuda ? run_cuda() : run_cpu();
}

void HybridDecodeCall::run_plain() {
  const int group_size = params.num_q_heads / params.num_kv_heads;
  for (int64_t q_row = 0; q_row < int64_t{params.batch} * params.num_q_heads; ++q_row) {
    const int64_t item = q_row / group_size;
    const int64_t row = item / params.num_kv_heads;
    const int64_t kv_len = kv_lens[static_cast<size_t>(row)];
    const int32_t* ids = token_ids.data() + item * params.token_ids_stride;
    std::vector<int64_t> positions(ids, ids + num_ids[static_cast<size_t>(item)]);
    if (set_of_head[static_cast<size_t>(item)] == HybridDecodeParams::kDense) {
      positions.resize(static_cast<size_t>(kv_len));
      std::iota(positions.begin(), positions.end(), 0);
    }
    lse[static_cast<size_t>(q_row)] =
        plain_attention(q.data() + q_row * params.head_dim, params.kv, cache.page_table(row),
                        item % params.num_kv_heads, positions, params.head_dim, params.scale,
                        out.data() + q_row * params.head_dim);
    if (emit[static_cast<size_t>(item)] != 0 && q_row % group_size == 0) {
      for (int64_t position = 0; position < kv_len; ++position) {
        scores[static_cast<size_t>(item * params.scores_stride + position)] = plain_score(
            q.data() + q_row * params.head_dim, group_size, params.kv, cache.page_table(row),
            item % params.num_kv_heads, position, params.head_dim);
      }
    }
  }
}

std::vector<float> with_poison_as(float marker, std::vector<float> values) {
  std::replace_if(
      values.begin(), values.end(), [](float value) { return std::isnan(value); }, marker);
  return values;
}

}  // namespace lychee::attention
