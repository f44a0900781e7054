#pragma once

#include <cstdint>
#include <vector>

#include "io/model_files.h"
#include "model/rope_frequencies.h"
#include "training/backend.h"

namespace lychee::training {

// The cosines and sines of consecutive rows, for RoPE and for its adjoint. Of all positions at once
// where a position's do not depend on the sequence's length.
template <typename Real>
class RopeTables {
 public:
  // `config` and `backend` must outlive it.
  RopeTables(const io::ModelConfig& config, Backend<Real>& backend, int64_t max_rows,
             int64_t max_positions);

  // Rows stand at first_position …, below max_positions. rope_length: tokens of the prompt they
  // belong to, or 0 for rows that act as decode steps (dynamic RoPE follows each row's own length
  // then). Costs nothing for the rows that it has.
  void begin(int64_t num_rows, int64_t first_position, int64_t rope_length);

  // [num_rows, head_dim]
  [[nodiscard]] const Real* forward() const { return table_.data() + first_row_ * head_dim_; }
  [[nodiscard]] const Real* adjoint() const { return adjoint_.data() + first_row_ * head_dim_; }

 private:
  struct Rows {
    int64_t count = 0;
    int64_t first_position = 0;
    int64_t rope_length = 0;
    bool operator==(const Rows&) const = default;
  };

  void fill(const Rows& rows);
  void fill_row(int64_t row, int64_t position, const model::RopeFrequencies& frequencies);

  const io::ModelConfig& config_;
  Backend<Real>& backend_;
  int64_t head_dim_;
  bool of_all_positions_;
  int64_t capacity_;       // rows of the tables
  Rows rows_;              // that they hold
  int64_t first_row_ = 0;  // of the tables, that the pass begins at
  std::vector<Real> host_table_, host_adjoint_;
  Array<Real> table_, adjoint_;
};

}  // namespace lychee::training
