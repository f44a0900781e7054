#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/activation/silu_mul.h"
#include "kernels/activation/silu_mul_backward.h"
#include "kernels/attention/blended_attention.h"
#include "kernels/attention/select_tokens.h"
#include "kernels/linear/linear.h"
#include "kernels/linear/linear_backward.h"
#include "kernels/loss/logit_loss.h"
#include "kernels/norm/rms_norm.h"
#include "kernels/norm/rms_norm_backward.h"
#include "kernels/rope/rope.h"
#include "kernels/rows/rows.h"
#include "training/array.h"
#include "training/frozen_weights.h"

namespace lychee::training {

// How many rows a backend takes at a time where memory, not arithmetic, asks for a limit.
struct RowChunks {
  int64_t prefill = 512;  // of a context
  int64_t logits = 128;
};

// A frozen model on a device, and all that training does there: its memory and its kernels. Calls
// are in order; those that neither return a value nor are said to wait may return before the work
// is done. Pointers in params are of the backend's memory. Not thread-safe.
template <typename Real>
class Backend {
 public:
  Backend() = default;
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  [[nodiscard]] virtual const FrozenWeights& weights() const = 0;
  [[nodiscard]] virtual RowChunks chunks() const = 0;

  // Of device memory taken so far, the weights included; 0 in the host's memory.
  [[nodiscard]] virtual int64_t device_bytes() const { return 0; }

  // Memory for `count` values, whatever they are. Throws Error(kOutOfMemory).
  template <typename T>
  [[nodiscard]] Array<T> make(int64_t count) {
    Memory memory;
    void* data = allocate(memory, count * static_cast<int64_t>(sizeof(T)));
    return {std::move(memory), data, count};
  }
  // Host values to the backend; the caller may reuse them at once.
  template <typename T>
  void send(T* to, std::span<const T> host) {
    send_bytes(to, host.data(), static_cast<int64_t>(host.size_bytes()));
  }
  // And back; waits.
  template <typename T>
  void fetch(std::span<T> host, const T* from) {
    fetch_bytes(host.data(), from, static_cast<int64_t>(host.size_bytes()));
  }
  // Until all that was asked for is done; throws what went wrong.
  virtual void wait() = 0;

  virtual void copy(Real* to, const Real* from, int64_t count) = 0;
  virtual void zero(Real* to, int64_t count) = 0;
  // Rows of the embedding, [num_rows, hidden_size].
  virtual void embed(const int32_t* token_ids, int64_t num_rows, Real* x) = 0;
  virtual void gather(const rows::PickParams<Real>& params) = 0;
  virtual void scatter(const rows::PickParams<Real>& params) = 0;
  virtual void append(const rows::AppendParams<Real>& params) = 0;

  virtual void rms_norm(const norm::RmsNormParamsOf<Real>& params) = 0;
  virtual void rms_norm_backward(const norm::RmsNormBackwardParams<Real>& params) = 0;
  virtual void apply_rope_table(const rope::RopeApplyParamsOf<Real>& params) = 0;
  virtual void silu_mul(const activation::SiluMulParamsOf<Real>& params) = 0;
  virtual void silu_mul_backward(const activation::SiluMulBackwardParams<Real>& params) = 0;
  // Workspaces never shrink with more rows or a longer context, and no pointer is read.
  [[nodiscard]] virtual int64_t workspace_bytes(const linear::LinearParamsOf<Real>& params) = 0;
  virtual void linear(const linear::LinearParamsOf<Real>& params) = 0;
  [[nodiscard]] virtual int64_t workspace_bytes(
      const linear::LinearBackwardParams<Real>& params) = 0;
  virtual void linear_backward(const linear::LinearBackwardParams<Real>& params) = 0;
  [[nodiscard]] virtual int64_t workspace_bytes(
      const attention::BlendedAttentionParams<Real>& params) = 0;
  virtual void attention(const attention::BlendedAttentionParams<Real>& params) = 0;
  [[nodiscard]] virtual int64_t workspace_bytes(
      const attention::BlendedAttentionBackwardParams<Real>& params) = 0;
  virtual void attention_backward(
      const attention::BlendedAttentionBackwardParams<Real>& params) = 0;
  [[nodiscard]] virtual int64_t workspace_bytes(const attention::SelectTokensParams& params) = 0;
  virtual void select_tokens(const attention::SelectTokensParams& params) = 0;
  virtual void kl_divergence(const loss::LogitLossParams<Real>& params) = 0;
  virtual void mean_square(const loss::LogitLossParams<Real>& params) = 0;
  // mean_square of the final hidden states (vocab_size: hidden_size); on the host in double.
  virtual void hidden_mean_square(const loss::LogitLossParams<Real>& params) = 0;

 protected:
  // Takes `bytes` and returns where they lie. A backend that only counts returns null.
  [[nodiscard]] virtual void* allocate(Memory& memory, int64_t bytes) = 0;
  virtual void send_bytes(void* to, const void* host, int64_t bytes) = 0;
  virtual void fetch_bytes(void* host, const void* from, int64_t bytes) = 0;
};

}  // namespace lychee::training
