#include "kernels/attention/blended_attention.h"

#include <omp.h>

#include <algorithm>

#include "base/math.h"
#include "kernels/attention/cpu/blended_block.h"

namespace lychee::attention::cpu {

namespace {

constexpr auto kFloatBytes = static_cast<int64_t>(sizeof(float));
constexpr int64_t kForwardMatrices = 2;
constexpr int64_t kBackwardMatrices = 3;

int64_t workers() {
  return omp_get_max_threads();
}

// Gradients of K and V that one block contributes, of all rows up to its own.
int64_t part_floats(const BlendedAttentionParams<float>& p) {
  return 2 * p.num_rows * p.head_dim;
}

// What all blocks of one KV head contribute, added in the order of the blocks.
void reduce_parts(const BlendedAttentionBackwardParams<float>& b, const float* parts,
                  const double* d_z, int kv_head) {
  const BlendedAttentionParams<float>& p = b.forward;
  const int64_t blocks = BlendedBlock::num_blocks(p);
  b.d_z[kv_head] = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    b.d_z[kv_head] += d_z[block * p.num_kv_heads + kv_head];
  }
  for (int64_t row = 0; row < p.num_rows; ++row) {
    float* d_k = b.d_k + (row * p.num_kv_heads + kv_head) * p.head_dim;
    float* d_v = b.d_v + (row * p.num_kv_heads + kv_head) * p.head_dim;
    std::fill_n(d_k, p.head_dim, 0.0F);
    std::fill_n(d_v, p.head_dim, 0.0F);
    for (int64_t block = row / BlendedBlock::rows_per_block(p); block < blocks; ++block) {
      const float* part = parts + (block * p.num_kv_heads + kv_head) * part_floats(p);
      const float* k = part + row * p.head_dim;
      const float* v = k + p.num_rows * p.head_dim;
      for (int d = 0; d < p.head_dim; ++d) {
        d_k[d] += k[d];
        d_v[d] += v[d];
      }
    }
  }
}

}  // namespace

int64_t blended_attention_workspace_bytes(const BlendedAttentionParams<float>& p) {
  return workers() * BlendedBlock::scratch_floats(p, kForwardMatrices) * kFloatBytes;
}

void blended_attention(const BlendedAttentionParams<float>& p) {
  const int64_t items = BlendedBlock::num_blocks(p) * p.num_kv_heads;
  const int64_t floats = BlendedBlock::scratch_floats(p, kForwardMatrices);
#pragma omp parallel for schedule(dynamic)
  for (int64_t item = 0; item < items; ++item) {
    float* scratch = static_cast<float*>(p.workspace) + omp_get_thread_num() * floats;
    BlendedBlock(p, item / p.num_kv_heads, static_cast<int>(item % p.num_kv_heads), scratch)
        .forward();
  }
}

int64_t blended_attention_backward_workspace_bytes(const BlendedAttentionBackwardParams<float>& b) {
  const BlendedAttentionParams<float>& p = b.forward;
  const int64_t items = BlendedBlock::num_blocks(p) * p.num_kv_heads;
  return workers() * BlendedBlock::scratch_floats(p, kBackwardMatrices) * kFloatBytes +
         items * (part_floats(p) * kFloatBytes + static_cast<int64_t>(sizeof(double)));
}

void blended_attention_backward(const BlendedAttentionBackwardParams<float>& b) {
  const BlendedAttentionParams<float>& p = b.forward;
  const int64_t items = BlendedBlock::num_blocks(p) * p.num_kv_heads;
  const int64_t floats = BlendedBlock::scratch_floats(p, kBackwardMatrices);
  auto* d_z = static_cast<double*>(b.workspace);
  auto* parts = reinterpret_cast<float*>(d_z + items);
  float* scratch = parts + items * part_floats(p);
#pragma omp parallel
  {
    float* own = scratch + omp_get_thread_num() * floats;
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < items; ++item) {
      BlendedBlock block(p, item / p.num_kv_heads, static_cast<int>(item % p.num_kv_heads), own);
      float* part = parts + item * part_floats(p);
      d_z[item] = block.backward(b, part, part + p.num_rows * p.head_dim);
    }
#pragma omp for schedule(static)
    for (int head = 0; head < p.num_kv_heads; ++head) {
      reduce_parts(b, parts, d_z, head);
    }
  }
}

}  // namespace lychee::attention::cpu
