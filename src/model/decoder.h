#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "kernels/sampling/sample.h"
#include "model/decode_row.h"
#include "model/weights.h"

namespace lychee::model {

// A model on one device: token ids in, K and V into the cache, logits out. Knows no requests; the
// caller makes the pages writable first. Not thread-safe.
class Decoder {
 public:
  Decoder() = default;
  virtual ~Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Dense causal pass over consecutive tokens of one sequence, at most the rows it was built for.
  // `rope_length`: tokens of the whole prompt (dynamic RoPE).
  virtual void prefill(std::span<const int32_t> token_ids, int64_t first_position,
                       int64_t rope_length, std::span<const int32_t> pages) = 0;
  // One decode step, at most linear::kMaxDecodeRows rows. Fills tokens_read.
  virtual void decode(std::span<DecodeRow> rows) = 0;

  // Logits of rows [first_row, first_row + num_rows) of the last pass, [num_rows, vocab_size], in
  // host memory; num_rows <= linear::kMaxDecodeRows.
  virtual void logits(int64_t first_row, int64_t num_rows, float* out) = 0;
  // The id drawn for a row of the last pass, as by sampling::cpu::sample, where the device can
  // without moving the logits.
  [[nodiscard]] virtual std::optional<int32_t> draw(int64_t row,
                                                    const sampling::SampleParams& params,
                                                    double uniform) = 0;

  // Returns when the device has done all that was asked of it: prefill and decode may return
  // before.
  virtual void wait() {}

  // For measuring: K and V drawn from `seed` at positions [begin, end) of all layers (noise.h).
  virtual void fill_noise(int64_t begin, int64_t end, uint64_t seed,
                          std::span<const int32_t> pages) = 0;

  // As they lie on the host.
  [[nodiscard]] virtual const ModelWeights& weights() const = 0;
  [[nodiscard]] virtual int64_t weight_bytes_per_step() const { return weights().bytes_per_step(); }
};

}  // namespace lychee::model
