// Blended attention of head training and its adjoint on a GPU, one layer at the shapes of models
// that heads are trained for: 1000 target rows behind 10K tokens of context. FLOP/s counts the
// products that any method needs: 4 · head_dim a pair of query and token forward, 6 backward (of
// the scores, which no method keeps, the weights' gradients and the queries').
//   blended_bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/attention/blended_attention.h"
#include "tensor/device.h"
#include "tensor/device_buffer.h"
#include "tensor/stream.h"

namespace lychee::attention {
namespace {

constexpr int64_t kRows = 1000;
constexpr int64_t kContext = 10000;

struct Shape {
  const char* name;
  int q_heads, kv_heads, head_dim;
};

constexpr Shape kShapes[] = {{"Llama-3-8B", 32, 8, 128},
                             {"SmolLM2-135M", 9, 3, 64},
                             {"Qwen2.5-0.5B", 14, 2, 64},
                             {"Qwen2.5-1.5B", 12, 2, 128}};

enum class Pass : uint8_t { kTeacher, kStudent, kScores, kBackward };

constexpr const char* pass_name(Pass pass) {
  switch (pass) {
    case Pass::kTeacher:
      return "teacher";
    case Pass::kStudent:
      return "student";
    case Pass::kScores:
      return "student_with_scores";
    default:
      return "backward";
  }
}

template <typename T>
T* upload(const std::vector<T>& values, std::vector<DeviceBuffer>& buffers, const Stream& stream) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  buffers.emplace_back(bytes);
  copy_to_device(buffers.back().data(), values.data(), bytes, stream.get());
  stream.synchronize();
  return reinterpret_cast<T*>(buffers.back().data());
}

// A layer's call on the device. Sets of `budget` tokens.
struct Call {
  Call(const Shape& shape, Pass pass, int64_t budget, bool exact) {
    const int64_t kv_rows = kRows * shape.kv_heads * shape.head_dim;
    const int64_t q_rows = kRows * shape.q_heads * shape.head_dim;
    const int64_t context = kContext * shape.kv_heads * shape.head_dim;
    p = {
        .num_rows = kRows,
        .num_q_heads = shape.q_heads,
        .num_kv_heads = shape.kv_heads,
        .head_dim = shape.head_dim,
        .scale = 1 / std::sqrt(static_cast<float>(shape.head_dim)),
        .context_len = kContext,
        .context_k = values(context),
        .context_v = values(context),
        .context_stride = kContext,
        .q = values(q_rows),
        .k = values(kv_rows),
        .v = values(kv_rows),
        .z = upload(std::vector<float>(static_cast<size_t>(shape.kv_heads), 0.5F), buffers, stream),
        .sets = nullptr,
        .sets_per_q_head = false,
        .out = values(q_rows),
        .scores = nullptr,
        .scores_stride = kContext + kRows,
        .scores_per_q_head = false,
        .emit_scores = nullptr,
        .workspace = nullptr,
        .exact = exact};
    if (pass != Pass::kTeacher) {
      add_sets(shape, budget);
    }
    if (pass == Pass::kScores) {
      p.scores = take<float>(shape.kv_heads * kRows * p.scores_stride);
    }
    if (pass == Pass::kBackward) {
      backward = {p,
                  values(q_rows),
                  take<float>(q_rows),
                  take<float>(kv_rows),
                  take<float>(kv_rows),
                  take<double>(shape.kv_heads),
                  nullptr};
      backward.workspace =
          take<std::byte>(cuda::blended_attention_backward_workspace_bytes(backward));
    } else {
      p.workspace = take<std::byte>(cuda::blended_attention_workspace_bytes(p));
    }
  }

  void add_sets(const Shape& shape, int64_t budget) {
    std::mt19937 engine(11);
    std::vector<int32_t> all(kContext);
    std::iota(all.begin(), all.end(), 0);
    std::vector<int32_t> ids;
    for (int64_t row = 0; row < kRows; ++row) {
      std::sample(all.begin(), all.end(), std::back_inserter(ids), budget, engine);
    }
    const int32_t* device_ids = upload(ids, buffers, stream);
    const int32_t* num_ids =
        upload(std::vector<int32_t>(kRows, static_cast<int32_t>(budget)), buffers, stream);
    sets.assign(static_cast<size_t>(shape.kv_heads), {device_ids, num_ids, budget});
    p.sets = sets.data();
  }
  template <typename T>
  T* take(int64_t count) {
    buffers.emplace_back(count * static_cast<int64_t>(sizeof(T)));
    return reinterpret_cast<T*>(buffers.back().data());
  }
  // Random ones, from a pattern of a length that is no power of two.
  float* values(int64_t count) {
    static const std::vector<float> kPattern = [] {
      std::mt19937 engine(7);
      std::normal_distribution<float> normal;
      std::vector<float> pattern(1000003);
      std::generate(pattern.begin(), pattern.end(), [&] { return normal(engine); });
      return pattern;
    }();
    float* to = take<float>(count);
    for (int64_t at = 0; at < count; at += static_cast<int64_t>(kPattern.size())) {
      const int64_t here = std::min(count - at, static_cast<int64_t>(kPattern.size()));
      copy_to_device(to + at, kPattern.data(), here * static_cast<int64_t>(sizeof(float)),
                     stream.get());
    }
    return to;
  }
  void run(Pass pass) const {
    if (pass == Pass::kBackward) {
      cuda::blended_attention_backward(backward, stream.get());
    } else {
      cuda::blended_attention(p, stream.get());
    }
  }

  Stream stream;
  std::vector<DeviceBuffer> buffers;
  std::vector<RowSets> sets;
  BlendedAttentionParams<float> p{};
  BlendedAttentionBackwardParams<float> backward{};
};

void run(benchmark::State& state, const Shape& shape, Pass pass, int64_t budget, bool exact) {
  if (!cuda_available()) {
    state.SkipWithError("no GPU");
    return;
  }
  const Call call(shape, pass, budget, exact);
  call.run(pass);
  call.stream.synchronize();
  const Event start;
  const Event end;
  for (auto _ : state) {
    start.record(call.stream.get());
    call.run(pass);
    end.record(call.stream.get());
    end.synchronize();
    state.SetIterationTime(end.microseconds_since(start) * 1e-6);
  }
  const double pairs = static_cast<double>(kRows * shape.q_heads) *
                       (static_cast<double>(kContext) + 0.5 * (kRows + 1));
  const double flops = (pass == Pass::kBackward ? 6.0 : 4.0) * shape.head_dim * pairs;
  state.counters["FLOP/s"] = benchmark::Counter(flops * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate);
}

const int kRegistered = [] {
  for (const Shape& shape : kShapes) {
    for (const bool exact : {false, true}) {
      for (const Pass pass : {Pass::kTeacher, Pass::kStudent, Pass::kScores, Pass::kBackward}) {
        const std::string name =
            std::string(shape.name) + '/' + pass_name(pass) + (exact ? "/exact" : "");
        benchmark::RegisterBenchmark(
            name.c_str(), [=](benchmark::State& state) { run(state, shape, pass, 1024, exact); })
            ->UseManualTime()
            ->MinTime(0.05)
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
  return 0;
}();

}  // namespace
}  // namespace lychee::attention
