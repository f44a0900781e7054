#pragma once

namespace lychee::attention::cuda {

// What one part of a row (split.cuh) holds of one head.
struct Range {
  int row;
  int kv_head;
  int set;        // row of token_ids, or kDense
  int len;        // tokens of the head
  int newest;     // position of the row's newest token
  int begin;      // first unit
  int end;        // one past the last unit
  int part;       // of the row, the one that this range belongs to
  int num_parts;  // that share this head
  int first_part;
};

enum class JobKind { kAttend, kMerge, kEnd };

// What the dispatcher tells the computing warps to do next.
struct Job {
  JobKind kind;
  Range range;  // kMerge: of the head whose parts are to be merged
  float k_scale;
  float v_scale;
  bool emits;  // scores
  bool ends;   // a merge after which there is no job
};

}  // namespace lychee::attention::cuda
