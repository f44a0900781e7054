#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>

struct CUstream_st;

namespace lychee::sampling {

// How the next token is drawn. Applied in this order: repetition penalty, temperature, top_k,
// top_p, min_p. temperature 0 is greedy: the largest logit, ties to the lower id.
struct SampleParams {
  double temperature = 0;
  int top_k = 0;  // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;  // > 1 divides positive logits of `previous`, multiplies negative
};

// What logits' distances from the largest are multiplied by, for weights that are powers of two:
// the largest's distance, 0, stays 0 at any temperature.
[[nodiscard]] inline float weight_scale(double temperature) {
  return static_cast<float>(
      std::min(std::numbers::log2e / temperature, double{std::numeric_limits<float>::max()}));
}

namespace cpu {

// Draws from `logits` (not modified). `uniform` in [0, 1) is the only source of randomness, so a
// seed fixes the draw whatever the thread count. `previous`: tokens the penalty applies to.
[[nodiscard]] int32_t sample(std::span<const float> logits, const SampleParams& params,
                             std::span<const int32_t> previous, double uniform);

// log softmax of `logits` at `id`, summed in double.
[[nodiscard]] double log_prob(std::span<const float> logits, int32_t id);
// log of the sum of exp(logits), in double.
[[nodiscard]] double log_sum_exp(std::span<const float> logits);

}  // namespace cpu

namespace cuda {
// The greedy choice for several rows: the largest logit, ties to the lower id, NaN never (all NaN:
// 0).
struct ArgmaxParams {
  int64_t num_rows;
  int64_t vocab_size;
  const float* logits;  // [num_rows, vocab_size], row stride logits_stride
  int64_t logits_stride;
  int32_t* ids;     // [num_rows]
  void* workspace;  // argmax_workspace_bytes(num_rows), aligned to 8 bytes, zero before first use
};
[[nodiscard]] int64_t argmax_workspace_bytes(int64_t num_rows);
// Pointers are device memory. Enqueues on `stream`.
void argmax(const ArgmaxParams& params, CUstream_st* stream);

// One row's draw at a temperature above 0, without the repetition penalty: that of cpu::sample, but
// for the rounding of weights, which are whole numbers of 2^-40 of the largest.
struct DrawParams {
  int64_t vocab_size;
  const float* logits;     // [vocab_size]
  const int32_t* best_id;  // what argmax() gave for them
  SampleParams sampling;
  double uniform;  // in [0, 1), a whole number of 2^-53
  int32_t* id;
};
// Pointers are device memory, or pinned. Enqueues on `stream`.
void draw(const DrawParams& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::sampling
