#include "kernels/attention/fused_attention.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/math.h"
#include "kernels/attention/cuda/alignment.h"
#include "kernels/attention/cuda/cudnn/arrays.h"
#include "kernels/attention/cuda/cudnn/graph.h"
#include "kernels/attention/cuda/cudnn/library.h"

namespace lychee::attention {

namespace {

constexpr int64_t kLengthBytes = 256;             // at the start of the workspace
constexpr int64_t kPlanBytes = int64_t{1} << 20;  // behind them; 256 bytes have been enough
constexpr int kLeastRows = 128;                   // of a plan

class Handle {
 public:
  explicit Handle(const cudnn::Library& library) : library_(library) {
    library_.check(library_.create_handle(&handle_), "cudnnCreate");
  }
  ~Handle() { library_.destroy_handle(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  [[nodiscard]] cudnnHandle_t get() const { return handle_; }

 private:
  const cudnn::Library& library_;
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace

class FusedAttention::Impl {
 public:
  explicit Impl(const Shape& shape) : shape_(shape), handle_(library_) {
    plans_.emplace(shape.max_tokens, compile(shape.max_tokens));
  }

  void attend(const Params& p, CUstream_st* stream) {
    const int64_t kv_len = p.first_position + p.num_tokens;
    require(p.num_tokens > 0 && p.num_tokens <= shape_.max_tokens &&
                kv_len <= shape_.max_pages * kPageSize,
            ErrorCode::kInternal, "attention of ", p.num_tokens, " tokens over ", kv_len,
            ", built for ", shape_.max_tokens, " over ", shape_.max_pages * kPageSize);
    const cudnn::Descriptor& plan = plan_of(p.num_tokens);
    auto* const lengths = static_cast<int32_t*>(p.workspace);
    cudnn::prepare({.num_tokens = p.num_tokens,
                    .kv_len = static_cast<int32_t>(kv_len),
                    .lengths = lengths,
                    .page_table = p.page_table,
                    .kv = p.kv,
                    .num_kv_heads = shape_.num_kv_heads,
                    .head_dim = shape_.head_dim},
                   stream);
    execute(plan, p, lengths, stream);
    if (p.kv.dtype == DType::kF16) {
      cudnn::f16_to_bf16(p.out, int64_t{p.num_tokens} * shape_.num_q_heads * shape_.head_dim,
                         stream);
    }
  }

 private:
  // The kernel computes every row of its plan: one for each power of two, or the largest where
  // cuDNN has none for fewer rows.
  const cudnn::Descriptor& plan_of(int num_tokens) {
    int rows = kLeastRows;
    while (rows < num_tokens) {
      rows *= 2;
    }
    rows = std::min(rows, shape_.max_tokens);
    const auto found = plans_.find(rows);
    if (found != plans_.end()) {
      return *found->second;
    }
    std::shared_ptr<const cudnn::Descriptor> plan;
    try {
      plan = compile(rows);
    } catch (const Error&) {
      plan = plans_.at(shape_.max_tokens);
    }
    return *plans_.emplace(rows, std::move(plan)).first->second;
  }

  [[nodiscard]] std::shared_ptr<const cudnn::Descriptor> compile(int rows) const {
    Shape shape = shape_;
    shape.max_tokens = rows;
    auto plan = std::make_shared<const cudnn::Descriptor>(
        make_plan(library_, handle_.get(), cudnn::AttentionGraph(library_, handle_.get(), shape)));
    int64_t count = 0;
    int64_t bytes = 0;
    library_.check(library_.get(plan->get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                CUDNN_TYPE_INT64, 1, &count, &bytes),
                   "asking for the workspace");
    require(bytes <= kPlanBytes, ErrorCode::kUnsupported, "cuDNN's attention wants ", bytes,
            " bytes of scratch, more than ", kPlanBytes);
    return plan;
  }

  void execute(const cudnn::Descriptor& plan, const Params& p, int32_t* lengths,
               CUstream_st* stream) {
    float scale = p.scale;
    float masked = -std::numeric_limits<float>::infinity();
    const std::array<int64_t, 9> ids = {cudnn::kQ,     cudnn::kK,         cudnn::kV,
                                        cudnn::kOut,   cudnn::kPageTable, cudnn::kNumTokens,
                                        cudnn::kKvLen, cudnn::kScale,     cudnn::kMasked};
    const std::array<void*, 9> pointers = {const_cast<void*>(p.q),
                                           p.kv.k,
                                           p.kv.v,
                                           p.out,
                                           const_cast<int32_t*>(p.page_table),
                                           lengths,
                                           lengths + 1,
                                           &scale,
                                           &masked};
    void* const workspace = static_cast<std::byte*>(p.workspace) + kLengthBytes;
    cudnn::Descriptor arguments(library_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    arguments.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
    arguments.set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers);
    arguments.set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::span(&workspace, 1));
    arguments.finalize();
    library_.check(library_.set_stream(handle_.get(), stream), "cudnnSetStream");
    library_.check(library_.execute(handle_.get(), plan.get(), arguments.get()),
                   "cudnnBackendExecute");
  }

  Shape shape_;
  cudnn::Library library_;
  Handle handle_;
  std::map<int, std::shared_ptr<const cudnn::Descriptor>> plans_;  // by rows
};

FusedAttention::FusedAttention(const Shape& shape) {
  require(shape.head_dim % 8 == 0 && shape.head_dim <= 128 && cuda::is_aligned(shape.kv),
          ErrorCode::kUnsupported, "cuDNN's attention: head_dim ", shape.head_dim,
          " is no multiple of 8 up to 128, or the cache's rows are not aligned");
  impl_ = std::make_unique<Impl>(shape);
}

FusedAttention::~FusedAttention() = default;

int64_t FusedAttention::workspace_bytes() {
  return kLengthBytes + kPlanBytes;
}

void FusedAttention::attend(const Params& params, CUstream_st* stream) {
  impl_->attend(params, stream);
}

}  // namespace lychee::attention
