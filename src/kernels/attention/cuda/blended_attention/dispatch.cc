#include "base/dispatch.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/blended_attention.h"
#include "kernels/attention/cuda/blended_attention/launch.h"
#include "tensor/cuda/device_attribute.h"
#include "tensor/cuda/probe.h"

namespace lychee::attention::cuda {

namespace {

using Params = BlendedAttentionParams<float>;
using BackwardParams = BlendedAttentionBackwardParams<float>;

// The whole support matrix of the kernels. One entry of each list together = one file in
// instantiations/.
using Dims = std::integer_sequence<int, 64, 128>;
using Parts = std::integer_sequence<int, 1, 2>;

constexpr int kMaxDim = 128;
constexpr int kQueries = BlendedTraits<kMaxDim, 1>::kQueries;
constexpr int kTargetTokens = BlendedTraits<kMaxDim, 1>::kTargetTokens;
constexpr int kMinSplitTokens = 512;  // fewer would not pay for a block's start
constexpr int kMaxSplits = 8;
constexpr int kScoreTokens = 512;  // of a block that emits scores

void check(const Params& p) {
  require(p.head_dim <= kMaxDim, ErrorCode::kUnsupported, "head_dim ", p.head_dim, " is above ",
          kMaxDim, ", the largest of blended attention on CUDA; use --device cpu");
  require(p.num_q_heads <= kMaxHeads, ErrorCode::kUnsupported, p.num_q_heads,
          " query heads are more than ", kMaxHeads,
          ", the most of blended attention on CUDA; use --device cpu");
  const int64_t words = (p.context_len + p.num_rows) / 32 + 4;
  require(
      p.num_rows * p.num_q_heads * words < std::numeric_limits<uint32_t>::max(),
      ErrorCode::kUnsupported, p.num_rows, " rows over ", p.context_len,
      " tokens of context are too many for blended attention on CUDA; train on shorter targets");
}

// Hands out a workspace piece by piece; with null only counts.
class Pieces {
 public:
  explicit Pieces(void* memory) : memory_(static_cast<std::byte*>(memory)) {}

  template <typename T>
  T* take(int64_t count) {
    constexpr int64_t kAlign = 256;
    const int64_t offset = bytes_;
    bytes_ += round_up(count * static_cast<int64_t>(sizeof(T)), kAlign);
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + offset);
  }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  int64_t bytes_ = 0;
};

// One call: what its kernels see, and the workspace behind it.
struct Call {
  const Params& p;
  Pieces pieces;
  int dim;
  int parts;
  bool warpgroups;  // whether wgmma serves this call
  BlendedView view{};
  __nv_bfloat16* mean_q = nullptr;
  int padded_rows = 0;

  Call(const Params& params, void* workspace, bool backward)
      : p(params),
        pieces(workspace),
        dim(params.head_dim <= 64 ? 64 : 128),
        parts(params.exact ? 2 : 1),
        warpgroups(!params.exact && kernel_architecture() == 90) {
    check(p);
    set_sizes();
    take_memory(backward);
  }

  void set_sizes() {
    const int group_size = p.num_q_heads / p.num_kv_heads;
    const auto tokens = static_cast<int>(p.context_len + p.num_rows);
    view.num_rows = static_cast<int>(p.num_rows);
    view.context_len = static_cast<int>(p.context_len);
    view.num_kv_heads = p.num_kv_heads;
    view.group_size = group_size;
    view.head_dim = p.head_dim;
    view.num_queries = view.num_rows * group_size;
    view.padded_queries = round_up(view.num_queries, kQueries);
    // The last tile of target tokens starts anywhere.
    view.padded_tokens = round_up(tokens, kTargetTokens) + kTargetTokens;
    view.scale = p.scale;
    view.log2_scale = p.scale * 1.44269504088896340736F;
    view.bits_per_q_head = p.sets_per_q_head;
    view.bit_words = view.padded_tokens / 32;
    view.z = p.sets == nullptr ? nullptr : p.z;
    padded_rows = round_up(view.num_rows, kQueries);
    const int target_blocks = ceil_div(view.num_rows, kTargetTokens) * p.num_kv_heads;
    view.num_target_splits = std::clamp(
        4 * device_attribute(cudaDevAttrMultiProcessorCount) / target_blocks, 1, kMaxSplits);

    view.num_splits = choose_splits(tokens);
    view.tokens_per_split = round_up(ceil_div(tokens, view.num_splits), kPanelRows);
  }

  // As many as let the blocks end soonest when the multiprocessors take them by turns, two at a
  // time or, the larger blocks, one.
  [[nodiscard]] int choose_splits(int tokens) const {
    const int blocks = view.padded_queries / kQueries * p.num_kv_heads;
    const int at_once = device_attribute(cudaDevAttrMultiProcessorCount) * (warpgroups ? 1 : 2);
    const int most = std::clamp(tokens / kMinSplitTokens, 1, kMaxSplits);
    int best = 1;
    for (int splits = 2; splits <= most; ++splits) {
      // In turns of one split, which is 1 / splits of a row's work.
      if (ceil_div(blocks * splits, at_once) * best * 20 <
          ceil_div(blocks * best, at_once) * splits * 19) {
        best = splits;
      }
    }
    return best;
  }

  void take_memory(bool backward) {
    const int64_t tokens = int64_t{parts} * p.num_kv_heads * view.padded_tokens * dim;
    const int64_t queries = int64_t{parts} * p.num_kv_heads * view.padded_queries * dim;
    const int64_t rows = int64_t{p.num_kv_heads} * view.padded_queries;
    view.k = pieces.take<__nv_bfloat16>(tokens);
    view.v = pieces.take<__nv_bfloat16>(tokens);
    view.q = pieces.take<__nv_bfloat16>(queries);
    view.weights = pieces.take<RowWeights>(rows);
    view.statistics = pieces.take<float4>(view.num_splits * rows);
    if (backward) {
      view.d_out = pieces.take<__nv_bfloat16>(queries);
      view.d_statistics = pieces.take<float2>(view.num_splits * rows);
      view.d_z = pieces.take<float>(rows);
      if (view.num_target_splits > 1) {
        view.d_k = pieces.take<float>(view.num_target_splits * num_target_values());
        view.d_v = pieces.take<float>(view.num_target_splits * num_target_values());
      }
    } else {
      mean_q = pieces.take<__nv_bfloat16>(int64_t{parts} * p.num_kv_heads * padded_rows * dim);
    }
    if (p.sets != nullptr) {
      view.bits = pieces.take<uint32_t>(num_sets() * p.num_rows * view.bit_words);
    }
    if (view.num_splits > 1) {
      view.out = pieces.take<float>(view.num_splits * num_outputs());
    }
  }

  [[nodiscard]] int num_sets() const { return p.sets_per_q_head ? p.num_q_heads : p.num_kv_heads; }
  [[nodiscard]] int64_t num_outputs() const { return p.num_rows * p.num_q_heads * p.head_dim; }

  [[nodiscard]] int64_t num_target_values() const {
    return p.num_rows * p.num_kv_heads * p.head_dim;
  }

  // What all kernels read, in the form they read.
  void prepare(const float* d_out, cudaStream_t stream) const {
    PlaneSource tokens{.context = p.context_k,
                       .context_len = p.context_len,
                       .context_stride = p.context_stride,
                       .rows = p.k,
                       .count = p.num_rows,
                       .num_heads = p.num_kv_heads,
                       .group_size = 1,
                       .head_dim = p.head_dim};
    split_planes(tokens, view.padded_tokens, dim, parts, view.k, stream);
    tokens.context = p.context_v;
    tokens.rows = p.v;
    split_planes(tokens, view.padded_tokens, dim, parts, view.v, stream);
    split_planes(queries(p.q), view.padded_queries, dim, parts, view.q, stream);
    if (d_out != nullptr) {
      split_planes(queries(d_out), view.padded_queries, dim, parts, view.d_out, stream);
    }
    if (p.sets != nullptr) {
      mark_members(p.sets, num_sets(), view.num_rows, view.bit_words, view.bits, stream);
    }
  }
  [[nodiscard]] PlaneSource queries(const float* rows) const {
    return {.context = nullptr,
            .context_len = 0,
            .context_stride = 0,
            .rows = rows,
            .count = view.num_queries,
            .num_heads = p.num_kv_heads,
            .group_size = view.group_size,
            .head_dim = p.head_dim};
  }

  // Calls fn with the launches that serve this call.
  template <typename Fn>
  void dispatch(Fn&& fn) const {
    [[maybe_unused]] const bool listed = dispatch_int(dim, Dims{}, [&](auto d) {
      if (warpgroups) {
        fn(BlendedLaunch<WarpgroupBlocks<d()>>{});
        return;
      }
      [[maybe_unused]] const bool always = dispatch_int(
          parts, Parts{}, [&](auto n) { fn(BlendedLaunch<PortableBlocks<d(), n()>>{}); });
    });
  }
  void target_gradients(float* d_k, float* d_v, cudaStream_t stream) const {
    BlendedView to = view;
    if (view.num_target_splits == 1) {
      to.d_k = d_k;
      to.d_v = d_v;
    }
    [[maybe_unused]] const bool listed = dispatch_int(dim, Dims{}, [&](auto d) {
      [[maybe_unused]] const bool always = dispatch_int(
          parts, Parts{}, [&](auto n) { TargetGradientsLaunch<d(), n()>::run(to, stream); });
    });
    if (view.num_target_splits > 1) {
      sum_parts(view.d_k, view.num_target_splits, num_target_values(), d_k, stream);
      sum_parts(view.d_v, view.num_target_splits, num_target_values(), d_v, stream);
    }
  }

  template <typename Launch>
  void forward(Launch launch, cudaStream_t stream) const {
    if (p.sets == nullptr && view.num_splits == 1) {
      BlendedView to = view;
      to.out = p.out;
      launch.dense(to, stream);
      return;
    }
    launch.statistics(view, false, stream);
    weigh_rows(view, false, stream);
    apply(launch, false, p.out, stream);
  }

  // The blended products go to `out`, through the parts of the splits if there are several.
  template <typename Launch>
  void apply(Launch launch, bool backward, float* out, cudaStream_t stream) const {
    BlendedView to = view;
    if (view.num_splits == 1) {
      to.out = out;
    }
    launch.apply(to, backward, stream);
    if (view.num_splits > 1) {
      sum_parts(view.out, view.num_splits, num_outputs(), out, stream);
    }
  }

  template <typename Launch>
  void emit_scores(Launch launch, cudaStream_t stream) const {
    if (p.scores == nullptr) {
      return;
    }
    ScoresOutput output{.scores = p.scores, .stride = p.scores_stride, .wanted = {}};
    bool any = false;
    for (int head = 0; head < p.num_kv_heads; ++head) {
      output.wanted[head] = p.emit_scores == nullptr || p.emit_scores[head] != 0;
      any = any || output.wanted[head];
    }
    if (!any) {
      return;
    }
    BlendedView scoring = view;
    if (!p.scores_per_q_head) {
      split_mean_planes(queries(p.q), padded_rows, dim, parts, mean_q, stream);
      scoring.q = mean_q;
      scoring.group_size = 1;
      scoring.num_queries = view.num_rows;
      scoring.padded_queries = padded_rows;
    }
    scoring.tokens_per_split = kScoreTokens;
    scoring.num_splits = ceil_div(view.context_len + view.num_rows, kScoreTokens);
    launch.scores(scoring, output, stream);
  }
};

}  // namespace

int64_t blended_attention_workspace_bytes(const Params& p) {
  return Call(p, nullptr, false).pieces.bytes();
}

void blended_attention(const Params& p, CUstream_st* stream) {
  const Call call(p, p.workspace, false);
  call.prepare(nullptr, stream);
  call.dispatch([&](auto launch) {
    call.forward(launch, stream);
    call.emit_scores(launch, stream);
  });
}

int64_t blended_attention_backward_workspace_bytes(const BackwardParams& b) {
  return Call(b.forward, nullptr, true).pieces.bytes();
}

void blended_attention_backward(const BackwardParams& b, CUstream_st* stream) {
  const Call call(b.forward, b.workspace, true);
  call.prepare(b.d_out, stream);
  call.dispatch([&](auto launch) {
    launch.statistics(call.view, true, stream);
    weigh_rows(call.view, true, stream);
    sum_d_z(call.view, b.d_z, stream);
    call.apply(launch, true, b.d_q, stream);
  });
  call.target_gradients(b.d_k, b.d_v, stream);
}

}  // namespace lychee::attention::cuda
