#include "kernels/attention/cuda/cudnn/graph.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace lychee::attention::cudnn {

namespace {

constexpr int64_t kAlignment = 16;  // of every pointer, bytes
constexpr int64_t kRowAxis = 2;
constexpr int64_t kColumnAxis = 3;

cudnnDataType_t element_of(DType dtype) {
  require(dtype == DType::kF16 || dtype == DType::kBF16, ErrorCode::kUnsupported,
          "cuDNN attends to caches of f16 and bf16, not ", dtype_info(dtype).name);
  return dtype == DType::kF16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
}

}  // namespace

AttentionGraph::AttentionGraph(const Library& library, cudnnHandle_t handle,
                               const FusedAttention::Shape& shape)
    : library_(library),
      shape_(shape),
      element_(element_of(shape.kv.dtype)),
      max_kv_len_(shape.max_pages * kPageSize),
      graph_(library, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
  const int64_t row = int64_t{shape.num_q_heads} * shape.head_dim;
  const auto rows = [&](TensorId id) -> Descriptor& {
    return tensor(id, element_, {1, shape.num_q_heads, shape.max_tokens, shape.head_dim},
                  {shape.max_tokens * row, shape.head_dim, row, 1}, Place::kDevice);
  };
  const Descriptor& num_tokens = length(kNumTokens);
  const Descriptor& kv_len = length(kKvLen);
  const Descriptor& page_table = tensor(kPageTable, CUDNN_DATA_INT32, {1, 1, shape.max_pages, 1},
                                        {shape.max_pages, shape.max_pages, 1, 1}, Place::kDevice);
  const Descriptor& k = pages(kK, true, page_table, kv_len);
  Descriptor& products = scores(CUDNN_DATA_FLOAT);
  multiply(rows(kQ), k, products, num_tokens, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC,
           kv_len);
  const Descriptor& scaled = on_scores(CUDNN_POINTWISE_MUL, {&products, &host_value(kScale)});
  const Descriptor& weights = softmax(mask(scaled, num_tokens, kv_len));
  const Descriptor& v = pages(kV, false, page_table, kv_len);
  multiply(weights, v, rows(kOut), num_tokens, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC,
           kv_len);
  graph_.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
  graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle);
  graph_.finalize();
}

Descriptor& AttentionGraph::add(cudnnBackendDescriptorType_t type) {
  return descriptors_.emplace_back(library_, type);
}

Descriptor& AttentionGraph::tensor(int64_t id, cudnnDataType_t type,
                                   std::initializer_list<int64_t> sizes,
                                   std::initializer_list<int64_t> strides, Place place) {
  Descriptor& made = add(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  made.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const int64_t>(sizes));
  made.set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const int64_t>(strides));
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, place == Place::kInner);
  if (place == Place::kHostValue) {
    made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
  }
  made.finalize();
  return made;
}

Descriptor& AttentionGraph::scores(cudnnDataType_t type) {
  const int64_t head = shape_.max_tokens * max_kv_len_;
  return tensor(next_id_++, type, {1, shape_.num_q_heads, shape_.max_tokens, max_kv_len_},
                {shape_.num_q_heads * head, head, max_kv_len_, 1}, Place::kInner);
}

Descriptor& AttentionGraph::row_values() {
  return tensor(next_id_++, CUDNN_DATA_FLOAT, {1, shape_.num_q_heads, shape_.max_tokens, 1},
                {int64_t{shape_.num_q_heads} * shape_.max_tokens, shape_.max_tokens, 1, 1},
                Place::kInner);
}

Descriptor& AttentionGraph::host_value(int64_t id) {
  return tensor(id, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}, Place::kHostValue);
}

Descriptor& AttentionGraph::length(int64_t id) {
  return tensor(id, CUDNN_DATA_INT32, {1, 1, 1, 1}, {1, 1, 1, 1}, Place::kDevice);
}

Descriptor& AttentionGraph::pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t precision,
                                      Descriptor& result,
                                      std::initializer_list<const Descriptor*> inputs,
                                      std::optional<int64_t> axis) {
  constexpr cudnnBackendAttributeName_t kInputs[] = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
                                                     CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                                     CUDNN_ATTR_OPERATION_POINTWISE_TDESC};
  Descriptor& kind = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  kind.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  kind.set(CUDNN_ATTR_POINTWISE_MATH_PREC, precision);
  if (axis) {
    kind.set(CUDNN_ATTR_POINTWISE_AXIS, *axis);
  }
  kind.finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
  size_t i = 0;
  for (const Descriptor* input : inputs) {
    operation.set(kInputs[i++], *input);
  }
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, result);
  operation.finalize();
  operations_.push_back(operation.get());
  return result;
}

Descriptor& AttentionGraph::on_scores(cudnnPointwiseMode_t mode,
                                      std::initializer_list<const Descriptor*> inputs) {
  return pointwise(mode, CUDNN_DATA_FLOAT, scores(CUDNN_DATA_FLOAT), inputs);
}

Descriptor& AttentionGraph::on_positions(cudnnPointwiseMode_t mode,
                                         std::initializer_list<const Descriptor*> inputs) {
  return pointwise(mode, CUDNN_DATA_INT32, scores(CUDNN_DATA_INT32), inputs);
}

Descriptor& AttentionGraph::condition(cudnnPointwiseMode_t mode,
                                      std::initializer_list<const Descriptor*> inputs) {
  return pointwise(mode, CUDNN_DATA_BOOLEAN, scores(CUDNN_DATA_BOOLEAN), inputs);
}

Descriptor& AttentionGraph::index(const Descriptor& like, int64_t axis) {
  return pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, scores(CUDNN_DATA_INT32), {&like},
                   axis);
}

Descriptor& AttentionGraph::reduce(cudnnReduceTensorOp_t operator_, const Descriptor& x) {
  Descriptor& made = row_values();
  Descriptor& kind = add(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  kind.set(CUDNN_ATTR_REDUCTION_OPERATOR, operator_);
  kind.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, made);
  operation.finalize();
  operations_.push_back(operation.get());
  return made;
}

Descriptor& AttentionGraph::pages(int64_t id, bool transposed, const Descriptor& page_table,
                                  const Descriptor& kv_len) {
  const PagedKv& kv = shape_.kv;
  const int64_t heads = shape_.num_kv_heads;
  const int64_t dim = shape_.head_dim;
  const int64_t head = dim * max_kv_len_;
  const Descriptor& stored =
      tensor(id, element_, {shape_.num_pages, heads, kPageSize, dim},
             {kv.page_stride, kv.head_stride, kv.token_stride, 1}, Place::kDevice);
  Descriptor& sequence = transposed ? tensor(next_id_++, element_, {1, heads, dim, max_kv_len_},
                                             {heads * head, head, 1, dim}, Place::kInner)
                                    : tensor(next_id_++, element_, {1, heads, max_kv_len_, dim},
                                             {heads * head, head, dim, 1}, Place::kInner);
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_PAGED_CACHE_LOAD_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_CONTAINER_DESC, stored);
  operation.set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_SEQUENCE_DESC, kv_len);
  operation.set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_PAGE_TABLE_DESC, page_table);
  operation.set(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC, sequence);
  operation.finalize();
  operations_.push_back(operation.get());
  return sequence;
}

void AttentionGraph::multiply(const Descriptor& a, const Descriptor& b, const Descriptor& c,
                              const Descriptor& num_tokens, cudnnBackendAttributeName_t kv_len_name,
                              const Descriptor& kv_len) {
  Descriptor& kind = add(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  kind.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, num_tokens);
  operation.set(kv_len_name, kv_len);
  operation.finalize();
  operations_.push_back(operation.get());
}

Descriptor& AttentionGraph::mask(const Descriptor& x, const Descriptor& num_tokens,
                                 const Descriptor& kv_len) {
  const Descriptor& masked = host_value(kMasked);
  // What lies behind either length.
  const Descriptor& row = index(x, kRowAxis);
  const Descriptor& column = index(x, kColumnAxis);
  const Descriptor& row_exists = condition(CUDNN_POINTWISE_CMP_LT, {&row, &num_tokens});
  const Descriptor& column_exists = condition(CUDNN_POINTWISE_CMP_LT, {&column, &kv_len});
  const Descriptor& exists = condition(CUDNN_POINTWISE_LOGICAL_AND, {&row_exists, &column_exists});
  const Descriptor& existing = on_scores(CUDNN_POINTWISE_BINARY_SELECT, {&x, &masked, &exists});
  // What a row must not see: row + kv_len - num_tokens >= column.
  const Descriptor& seeing = index(existing, kRowAxis);
  const Descriptor& seen = index(existing, kColumnAxis);
  const Descriptor& shifted = on_positions(CUDNN_POINTWISE_ADD, {&seeing, &kv_len});
  const Descriptor& last = on_positions(CUDNN_POINTWISE_SUB, {&shifted, &num_tokens});
  const Descriptor& sees = condition(CUDNN_POINTWISE_CMP_GE, {&last, &seen});
  return on_scores(CUDNN_POINTWISE_BINARY_SELECT, {&existing, &masked, &sees});
}

Descriptor& AttentionGraph::softmax(const Descriptor& x) {
  const Descriptor& max = reduce(CUDNN_REDUCE_TENSOR_MAX, x);
  const Descriptor& below = on_scores(CUDNN_POINTWISE_SUB, {&x, &max});
  const Descriptor& weights = on_scores(CUDNN_POINTWISE_EXP, {&below});
  const Descriptor& sum = reduce(CUDNN_REDUCE_TENSOR_ADD, weights);
  // The log of the sum, which nobody reads: without it in the graph the kernel writes it to an
  // address that it was not given.
  const Descriptor& log_sum =
      pointwise(CUDNN_POINTWISE_LOG, CUDNN_DATA_FLOAT, row_values(), {&sum});
  pointwise(CUDNN_POINTWISE_ADD, CUDNN_DATA_FLOAT, row_values(), {&max, &log_sum});
  return pointwise(CUDNN_POINTWISE_DIV, CUDNN_DATA_FLOAT, scores(element_), {&weights, &sum});
}

Descriptor make_plan(const Library& library, cudnnHandle_t handle, const AttentionGraph& graph) {
  constexpr int64_t kMostProposals = 8;
  Descriptor search(library, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  search.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.get());
  search.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  search.finalize();
  std::deque<Descriptor> proposals;
  std::vector<cudnnBackendDescriptor_t> pointers;
  for (int64_t i = 0; i < kMostProposals; ++i) {
    pointers.push_back(proposals.emplace_back(library, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  int64_t found = 0;
  library.check(library.get(search.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                            CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostProposals, &found, pointers.data()),
                "looking for a kernel");
  std::string reason = "it proposes none";
  for (size_t i = 0; i < static_cast<size_t>(std::min(found, kMostProposals)); ++i) {
    try {
      Descriptor plan(library, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposals[i]);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle);
      plan.finalize();
      return plan;
    } catch (const Error& error) {
      reason = error.what();
    }
  }
  fail(ErrorCode::kUnsupported, "cuDNN has no attention kernel for this GPU and model: ", reason);
}

}  // namespace lychee::attention::cudnn
