#pragma once

#include <cstdint>
#include <memory>

#include "kernels/attention/params.h"

struct CUstream_st;

namespace lychee::attention {

// Prompt attention by cuDNN, straight from the paged cache: the rate of the GPU's own matrix
// instructions, where cuda::prefill_attention reaches less than half of it. For caches of f16 and
// bf16; queries and softmax weights are rounded to the cache's type.
//
// The same calls give the same bits, whatever lies in memory behind the sequence; the rest of its
// last page is overwritten with zeros. But it may depend on how the prompt is cut and on cuDNN's
// version: who needs more than that, `exact` above all, takes cuda::prefill_attention.
class FusedAttention {
 public:
  // What all calls have in common.
  struct Shape {
    int max_tokens;  // rows of a call
    int num_q_heads;
    int num_kv_heads;   // divides num_q_heads
    int head_dim;       // a multiple of 8, at most 128
    int64_t max_pages;  // entries of a page table
    int64_t num_pages;  // of the cache
    PagedKv kv;         // its type and strides; the pointers are not read
  };

  // Loads cuDNN and compiles, which takes a second, or a tenth of one when the driver has it in its
  // cache; calls of fewer rows than max_tokens later compile for theirs, a power of two each.
  // Throws Error(kUnsupported) when the library is not there or has no kernel for this GPU and
  // shape.
  explicit FusedAttention(const Shape& shape);
  ~FusedAttention();
  FusedAttention(const FusedAttention&) = delete;
  FusedAttention& operator=(const FusedAttention&) = delete;

  // All in device memory. Row i stands at position first_position + i and reads positions 0 …
  // first_position + i, all in the cache already.
  struct Params {
    int num_tokens;
    float scale;  // usually 1/sqrt(head_dim)
    int64_t first_position;
    const void* q;  // [max_tokens, num_q_heads, head_dim] in the cache's type, aligned to 16 bytes
    const int32_t* page_table;  // [max_pages]; what lies behind the sequence's pages: any page
    PagedKv kv;                 // of the shape
    // [max_tokens, num_q_heads, head_dim], aligned to 16 bytes; rows from num_tokens on may be
    // overwritten.
    bf16* out;
    void* workspace;  // workspace_bytes(), aligned to 256 bytes
  };
  [[nodiscard]] static int64_t workspace_bytes();
  void attend(const Params& params, CUstream_st* stream);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lychee::attention
