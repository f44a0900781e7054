#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/cuda_layers.h"
#include "model/cuda_step.h"
#include "model/cuda_step_memory.h"
#include "model/kv_cache.h"

namespace lychee::model {

// Decode steps as captured graphs, one per CudaStepShape, recorded when a shape is first met.
// Selection runs on a second stream, beside the output projection and the MLP.
class CudaStepGraphs {
 public:
  // All but `stream` must outlive it.
  CudaStepGraphs(const io::ModelConfig& config, const KvCache& cache, CudaLayers& layers,
                 const CudaStepMemory& memory, std::shared_ptr<const Stream> stream);

  // Enqueues a step of `shape`, whose tables were uploaded.
  void launch(const CudaStepShape& shape);
  // Forgets all graphs: addresses changed.
  void clear() { graphs_.clear(); }

 private:
  [[nodiscard]] const Graph& graph_of(const CudaStepShape& shape);
  // What the graph of a step records.
  void enqueue_step(const CudaStepShape& shape);
  void enqueue_streaming_sets(const CudaStepShape& shape, const CudaStepMemory::Places& at);
  // The sets that rows of `page-bound` read in `layer`.
  void enqueue_page_bound(const CudaStepShape& shape, const CudaStepMemory::Places& at,
                          const attention::PagedKv& kv, const float* q);
  [[nodiscard]] attention::NewestTokens newest_tokens(int layer, const CudaLayers::Qkv& qkv) const;
  // Norms and rotates queries and keys, and appends keys and values to the cache.
  void enqueue_rotation(const CudaStepShape& shape, const CudaStepMemory::Places& at, int layer,
                        const CudaLayers::Qkv& qkv);
  void enqueue_attention(const CudaStepShape& shape, const CudaStepMemory::Places& at, int layer,
                         const CudaLayers::Qkv& qkv);
  void enqueue_selection(const CudaStepShape& shape, const CudaStepMemory::Places& at, int layer);
  void wait_for_selection();

  const io::ModelConfig& config_;
  const KvCache& cache_;
  CudaLayers& layers_;
  const CudaStepMemory& memory_;
  std::shared_ptr<const Stream> stream_;
  Stream side_;
  Event fork_, join_;
  bool selecting_ = false;  // on side_, and the next attention must wait for it

  struct CachedGraph {
    CudaStepShape shape;
    Graph graph;
  };
  std::vector<CachedGraph> graphs_;
};

}  // namespace lychee::model
