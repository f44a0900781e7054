#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "bench/layer_mixture.h"
#include "bench/row.h"
#include "kernels/attention/params.h"
#include "lychee/engine.h"

namespace lychee::bench {

// Where the tokens of a set lie.
enum class SetKind : uint8_t {
  kOwn,     // each head has random positions of its own
  kShared,  // all heads of a sequence have the same random positions
  kEnds,    // the first `sink` and the last budget - sink
  kPages,   // each head has random pages of 16 tokens of its own
};
[[nodiscard]] SetKind set_kind(Policy policy);

// One layer's decode attention or selection, alone, over a cache filled with noise.
struct AttentionCase {
  std::string policy = "dense";  // of the row
  int num_q_heads = 32;
  int head_dim = 128;
  DType kv_dtype = DType::kBF16;
  int64_t context = 0;
  int batch = 1;
  LayerMixture heads;  // attention: what they do; selection: the selecting ones' sets are made
  SetKind sets = SetKind::kOwn;
  Selection selection;
};

// Every time is the median over passes through several distinct caches, at least pool_bytes() of
// the backend in all unless memory is short, so that none is found in the device's own cache; the
// floor is a plain read of as many bytes in the same run.
class AttentionBench {
 public:
  // Throws Error(kUnsupported) where kCuda is asked for and cannot run. threads: of the CPU; 0:
  // all.
  AttentionBench(Device device, int threads, int repeats, uint64_t seed);
  ~AttentionBench();
  AttentionBench(const AttentionBench&) = delete;
  AttentionBench& operator=(const AttentionBench&) = delete;

  [[nodiscard]] std::string_view device() const;  // cpu or cuda
  [[nodiscard]] Row attention(const AttentionCase& c);
  // Selection by `c.selection` for the selecting heads of all sequences, in one call.
  [[nodiscard]] Row select(const AttentionCase& c);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee::bench
