#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <optional>
#include <vector>

#include "kernels/attention/cuda/cudnn/library.h"
#include "kernels/attention/fused_attention.h"

namespace lychee::attention::cudnn {

// Which pointer belongs to which tensor of the graph.
enum TensorId : int64_t {
  kQ = 1,
  kK,
  kV,
  kOut,
  kPageTable,
  kNumTokens,  // int32, device memory
  kKvLen,      // same
  kScale,      // float, host memory
  kMasked,     // same: what a masked score becomes
  kFirstInner,
};

// Causal attention over pages as the operations that cuDNN knows to be one kernel: the order and
// the types of its documented pattern must be kept to. Row i of `num_tokens` reads the positions up
// to kv_len - num_tokens + i.
class AttentionGraph {
 public:
  AttentionGraph(const Library& library, cudnnHandle_t handle, const FusedAttention::Shape& shape);

  // The operation graph.
  [[nodiscard]] const Descriptor& get() const { return graph_; }

 private:
  enum class Place : uint8_t { kDevice, kInner, kHostValue };

  Descriptor& add(cudnnBackendDescriptorType_t type);
  Descriptor& tensor(int64_t id, cudnnDataType_t type, std::initializer_list<int64_t> sizes,
                     std::initializer_list<int64_t> strides, Place place);
  Descriptor& scores(cudnnDataType_t type);  // one value a pair of query and token
  Descriptor& row_values();                  // one a query
  Descriptor& host_value(int64_t id);
  Descriptor& length(int64_t id);
  // Of up to three inputs; the third is the condition of a selection. `axis`: of an index.
  Descriptor& pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t precision, Descriptor& result,
                        std::initializer_list<const Descriptor*> inputs,
                        std::optional<int64_t> axis = {});
  // The same for a value a pair: f32, int32, boolean.
  Descriptor& on_scores(cudnnPointwiseMode_t mode, std::initializer_list<const Descriptor*> inputs);
  Descriptor& on_positions(cudnnPointwiseMode_t mode,
                           std::initializer_list<const Descriptor*> inputs);
  Descriptor& condition(cudnnPointwiseMode_t mode, std::initializer_list<const Descriptor*> inputs);
  Descriptor& index(const Descriptor& like, int64_t axis);
  Descriptor& reduce(cudnnReduceTensorOp_t operation, const Descriptor& x);
  Descriptor& pages(int64_t id, bool transposed, const Descriptor& page_table,
                    const Descriptor& kv_len);
  // The lengths say how much there is of the rows, and of the columns or of what is summed over.
  void multiply(const Descriptor& a, const Descriptor& b, const Descriptor& c,
                const Descriptor& num_tokens, cudnnBackendAttributeName_t kv_len_name,
                const Descriptor& kv_len);
  Descriptor& mask(const Descriptor& x, const Descriptor& num_tokens, const Descriptor& kv_len);
  Descriptor& softmax(const Descriptor& x);

  const Library& library_;
  FusedAttention::Shape shape_;
  cudnnDataType_t element_;
  int64_t max_kv_len_;
  int64_t next_id_ = kFirstInner;
  std::deque<Descriptor> descriptors_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  Descriptor graph_;
};

// The first of the kernels that cuDNN proposes and that this GPU can run, compiled.
[[nodiscard]] Descriptor make_plan(const Library& library, cudnnHandle_t handle,
                                   const AttentionGraph& graph);

}  // namespace lychee::attention::cudnn
