#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/row.h"
#include "kernels/attention/params.h"

namespace lychee::bench {

// One layer's decode attention and selection on the GPU, alone, over a cache filled with noise.
struct AttentionCase {
  int num_q_heads = 32;
  int num_kv_heads = 8;
  int head_dim = 128;
  DType kv_dtype = DType::kBF16;
  int64_t context = 0;
  int batch = 1;
  // KV heads of each sequence that read everything and, unless all do, emit scores; the others read
  // `selection.budget` random positions of their own.
  int num_retrieval = 8;
  Selection selection;
};

// Throws Error(kUnsupported), beginning with «bench <op>», where there is no CUDA backend.
void require_kernel_bench(const char* op);

// Every time is the median over launches of a graph that runs through several distinct caches, at
// least four GiB of them in all unless memory is short, so that none is found in the GPU's own
// cache; the floor is a plain read of as many bytes, measured the same way.
class AttentionBench {
 public:
  explicit AttentionBench(int repeats, uint64_t seed);
  ~AttentionBench();
  AttentionBench(const AttentionBench&) = delete;
  AttentionBench& operator=(const AttentionBench&) = delete;

  [[nodiscard]] Row attention(const AttentionCase& c);
  // Selection by `c.selection` for the retrieval heads of all sequences, in one call.
  [[nodiscard]] Row select(const AttentionCase& c);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee::bench
