#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention/params.h"
#include "kernels/attention_support.h"
#include "support/device_mirror.h"
#include "support/random.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"

namespace lychee::attention {

struct HybridDecodeCase {
  const char* name;
  std::vector<int64_t> kv_lens;
  int num_q_heads, num_kv_heads, head_dim;
  // One letter per (row, KV head), cycled: d dense, s dense with scores, a set of all tokens,
  // e empty set, h set of half of the tokens, 1 set of one token.
  const char* heads;
  int64_t stride_padding = 0;
};
void PrintTo(const HybridDecodeCase& c, std::ostream* out);
// Odd lengths, groups and head sizes, and sets of all kinds.
[[nodiscard]] const std::vector<HybridDecodeCase>& hybrid_decode_cases();

// Everything one call needs, its outputs poisoned.
struct HybridDecodeCall {
  HybridDecodeCall(const HybridDecodeCase& c, DType dtype);

  int32_t make_set(char kind, int64_t kv_len, int64_t at);

  void run_cpu();

  // The newest tokens are normed, rotated and appended by a launch of their own, or by attention.
  enum class Newest { kStored, kApart, kByAttention };

  void run_cuda(int num_runs = 1, int64_t only_row = -1, Newest handled = Newest::kStored);

  // Random ones, with norms of their heads or without, and room between rows.
  void make_newest(bool norms);
  NewestTokens newest_on(test::DeviceMirror& mirror);

  // A batch of row `row` alone, whose results land where those of the whole batch would.
  void run_row(const Backend& backend, int64_t row);
  static void select_row(HybridDecodeParams& p, int64_t row);

  void run(const Backend& backend);

  // The f32 formula, item by item.
  void run_plain();

  test::Random random;
  std::vector<int64_t> kv_lens;
  PagedCache cache;
  std::vector<float> q, out, lse, scores;
  std::vector<int32_t> set_of_head, token_ids, num_ids;
  std::vector<uint8_t> emit;
  std::vector<bf16> rounded_out;  // empty: not wanted
  std::vector<float> newest_kv, rope_table, q_norm, k_norm;
  bool has_norms = false;
  Buffer workspace;
  HybridDecodeParams params{};
};

// What was not asked for must still be poison: NaN becomes `marker`.
[[nodiscard]] std::vector<float> with_poison_as(float marker, std::vector<float> values);

}  // namespace lychee::attention
