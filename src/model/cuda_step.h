#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/model_files.h"
#include "lychee/selection.h"
#include "model/decode_row.h"

namespace lychee::model {

// What the launches of a decode step on the device depend on: steps that agree in it run the same
// captured graph, and differ in the contents of tables and lengths alone.
struct CudaStepShape {
  int batch = 0;
  int64_t max_kv_len = 0;  // a power of two that no row exceeds
  int64_t set_stride = 0;  // most ids a set can hold; 0: no sets
  // Rows that select alike, and the layers in which any of them does. A launch serves a group.
  struct Group {
    Selection selection;
    std::vector<bool> selects;  // [num_layers]
    bool operator==(const Group&) const = default;
  };
  std::vector<Group> groups;
  // Row, and the layers in which the scores of its heads are added up (`layer-shared`).
  struct Sum {
    int row;
    std::vector<bool> layers;
    bool operator==(const Sum&) const = default;
  };
  std::vector<Sum> sums;
  // Rows whose sets are the first and last positions, and the selection that says how many.
  struct Streaming {
    int row;
    Selection selection;
    bool operator==(const Streaming&) const = default;
  };
  std::vector<Streaming> streaming;
  // What rows of `page-bound` rank pages by, before the attention of every layer. A launch serves
  // the rows that rank alike.
  std::vector<Selection> page_bound;
  bool observes_recall = false;  // by any row

  bool operator==(const CudaStepShape&) const = default;

  [[nodiscard]] bool selects_in(int layer) const;
  // Whether only the device knows how many tokens a set holds.
  [[nodiscard]] bool counts_ids() const;
};

// Who reads and selects what in a step, as kernels want it.
struct CudaStepTables {
  std::vector<int32_t> set_of_head;          // [num_layers, batch, num_kv_heads]
  std::vector<uint8_t> emit_scores;          // same
  std::vector<std::vector<uint8_t>> active;  // per group, same
  // Per selection of shape.page_bound, and last for any of them, [batch, num_kv_heads].
  std::vector<std::vector<uint8_t>> ranks_pages;

  bool operator==(const CudaStepTables&) const = default;
};

struct CudaStepPlan {
  CudaStepShape shape;
  CudaStepTables tables;
};

[[nodiscard]] CudaStepPlan plan_cuda_step(std::span<const DecodeRow> rows,
                                          const io::ModelConfig& config);

// K/V rows that row `row` reads in a step, over layers and KV heads. num_ids: sizes of all sets in
// each layer, [num_layers, batch, num_kv_heads], where shape.counts_ids(); else null.
[[nodiscard]] double tokens_read(std::span<const DecodeRow> rows, size_t row,
                                 const CudaStepPlan& plan, const io::ModelConfig& config,
                                 const int32_t* num_ids);

// Tells the rows' observers what their sparse heads covered, layer by layer. The logs of the
// softmax sums over the sets and over everything are [num_layers, batch, num_q_heads], num_ids as
// above.
void report_recall(std::span<const DecodeRow> rows, const CudaStepPlan& plan,
                   const io::ModelConfig& config, const float* set_lse, const float* dense_lse,
                   const int32_t* num_ids);

}  // namespace lychee::model
