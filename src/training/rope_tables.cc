#include "training/rope_tables.h"

#include <cmath>
#include <span>

#include "base/check.h"

namespace lychee::training {

template <typename Real>
RopeTables<Real>::RopeTables(const io::ModelConfig& config, Backend<Real>& backend,
                             int64_t max_rows, int64_t max_positions)
    : config_(config),
      backend_(backend),
      head_dim_(config.head_dim),
      of_all_positions_(!model::rope_depends_on_length(config)),
      capacity_(of_all_positions_ ? max_positions : max_rows),
      table_(backend.template make<Real>(capacity_ * head_dim_)),
      adjoint_(backend.template make<Real>(capacity_ * head_dim_)) {}

template <typename Real>
void RopeTables<Real>::fill_row(int64_t row, int64_t position,
                                const model::RopeFrequencies& frequencies) {
  const auto factor = static_cast<double>(frequencies.attention_factor);
  const int half = config_.head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double angle = static_cast<double>(position) *
                         static_cast<double>(frequencies.inv_freq[static_cast<size_t>(i)]);
    const auto cosine = static_cast<size_t>(row * config_.head_dim + i);
    const size_t sine = cosine + static_cast<size_t>(half);
    host_table_[cosine] = static_cast<Real>(std::cos(angle) * factor);
    host_table_[sine] = static_cast<Real>(std::sin(angle) * factor);
    host_adjoint_[cosine] = host_table_[cosine];
    host_adjoint_[sine] = -host_table_[sine];
  }
}

template <typename Real>
void RopeTables<Real>::fill(const Rows& rows) {
  if (rows == rows_) {
    return;
  }
  rows_ = rows;
  const auto count = static_cast<size_t>(rows.count * head_dim_);
  host_table_.resize(count);
  host_adjoint_.resize(count);
  const bool each_its_own = rows.rope_length == 0 && !of_all_positions_;
  model::RopeFrequencies frequencies;
  for (int64_t row = 0; row < rows.count; ++row) {
    const int64_t position = rows.first_position + row;
    if (row == 0 || each_its_own) {
      frequencies =
          model::rope_frequencies(config_, rows.rope_length > 0 ? rows.rope_length : position + 1);
    }
    fill_row(row, position, frequencies);
  }
  backend_.send(table_.data(), std::span<const Real>(host_table_));
  backend_.send(adjoint_.data(), std::span<const Real>(host_adjoint_));
}

template <typename Real>
void RopeTables<Real>::begin(int64_t num_rows, int64_t first_position, int64_t rope_length) {
  require((of_all_positions_ ? first_position + num_rows : num_rows) <= capacity_,
          ErrorCode::kInternal, "RoPE tables of ", capacity_, " rows for ", num_rows, " from ",
          first_position);
  fill(of_all_positions_ ? Rows{capacity_, 0, 0} : Rows{num_rows, first_position, rope_length});
  first_row_ = of_all_positions_ ? first_position : 0;
}

template class RopeTables<float>;
template class RopeTables<double>;

}  // namespace lychee::training
