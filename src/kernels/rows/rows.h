#pragma once

#include <cstdint>

struct CUstream_st;

// Rows moved as they are, where a backend's memory is not the host's.
namespace lychee::rows {

// Some rows of a matrix. gather: to[r] = from[row_ids[r]]; scatter: to[row_ids[r]] = from[r].
template <typename Real>
struct PickParams {
  int64_t num_rows;
  int64_t dim;
  const Real* from;        // contiguous rows of `dim`
  const int64_t* row_ids;  // [num_rows]; distinct for scatter
  Real* to;                // contiguous rows of `dim`
};

// K or V of consecutive tokens, token by token, into a context that has them head by head.
template <typename Real>
struct AppendParams {
  int64_t num_rows;
  int num_kv_heads;
  int head_dim;
  const Real* rows;        // [num_rows, num_kv_heads, head_dim]
  Real* context;           // [num_kv_heads, context_stride, head_dim]
  int64_t context_stride;  // rows
  int64_t first_row;       // of each head, that the first token becomes
};

namespace cuda {
// Pointers are device memory. Enqueue on `stream`.
void gather(const PickParams<float>& params, CUstream_st* stream);
void scatter(const PickParams<float>& params, CUstream_st* stream);
void append(const AppendParams<float>& params, CUstream_st* stream);
}  // namespace cuda

}  // namespace lychee::rows
