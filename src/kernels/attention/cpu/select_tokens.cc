#include "kernels/attention/select_tokens.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <numeric>

#include "base/math.h"
#include "kernels/attention/cpu/gather_above.h"
#include "kernels/attention/cpu/rank.h"

namespace lychee::attention::cpu {

namespace {

constexpr int64_t kBlock = Selection::kBlockSize;

bool weighs_shares(SelectMode mode) {
  return mode == SelectMode::kMass || mode == SelectMode::kThreshold;
}

// One row of a call.
struct Row {
  const SelectTokensParams& params;
  const float* scores;
  int64_t kv_len;
  int64_t budget;
  int32_t* ids;
  std::byte* scratch;

  [[nodiscard]] int64_t sink() const { return params.selection.sink; }
  [[nodiscard]] int64_t first_recent() const { return kv_len - params.selection.recent; }
  [[nodiscard]] int64_t wanted() const {
    return budget - params.selection.sink - params.selection.recent;
  }
};

int64_t append_range(int64_t first, int64_t end, int32_t* ids, int64_t count) {
  std::iota(ids + count, ids + count + (end - first), static_cast<int32_t>(first));
  return count + (end - first);
}

// Most candidates that a sampled pivot may let through before radix select over all takes over.
int64_t max_candidates(int64_t ids_stride) {
  return 2 * ids_stride + 4096;
}

// A key that probably lets a few more than the wanted best through, from evenly spaced samples; 0
// if nothing would be saved.
uint32_t sample_pivot(const Row& row, uint32_t* samples) {
  constexpr int64_t kMinCount = 2048;
  const int64_t count = row.first_recent() - row.sink();
  if (count < kMinCount || row.wanted() > count / 2) {
    return 0;
  }
  const int64_t num_samples = std::clamp<int64_t>(count / 64, 512, 4096);
  for (int64_t i = 0; i < num_samples; ++i) {
    samples[i] = score_key(row.scores[row.sink() + i * count / num_samples]);
  }
  // Three standard deviations: too few pass once in a thousand rows.
  const double share = static_cast<double>(row.wanted()) / static_cast<double>(count);
  const double deviation = std::sqrt(share * (1 - share) / static_cast<double>(num_samples));
  const auto rank =
      static_cast<int64_t>(static_cast<double>(num_samples) * (share + 3 * deviation));
  std::nth_element(samples, samples + rank, samples + num_samples, std::greater<>());
  return samples[rank];
}

// Writes the wanted best positions that are not forced, ascending.
void find_top(const Row& row, int32_t* ids) {
  if (row.wanted() == 0) {
    return;
  }
  const int64_t capacity = max_candidates(row.params.token_ids_stride);
  auto* keys = reinterpret_cast<uint32_t*>(row.scratch);
  auto* positions = reinterpret_cast<int32_t*>(keys + capacity + kGatherPadding);
  int64_t count = 0;
  if (const uint32_t pivot = sample_pivot(row, keys); pivot > 0) {
    const int64_t num_candidates =
        gather_above(row.scores, row.sink(), row.first_recent(), pivot, capacity, keys, positions);
    if (num_candidates >= row.wanted() && num_candidates <= capacity) {
      Cut cut = find_cut(0, num_candidates, row.wanted(), [&](int64_t i) { return keys[i]; });
      for (int64_t i = 0; count < row.wanted(); ++i) {
        // Written even if not taken, since a branch would be mispredicted: the next one overwrites
        // it.
        ids[count] = positions[i];
        count += cut.takes(keys[i]) ? 1 : 0;
      }
      return;
    }
  }
  const auto key_of = [&](int64_t i) { return score_key(row.scores[i]); };
  Cut cut = find_cut(row.sink(), row.first_recent(), row.wanted(), key_of);
  for (int64_t i = row.sink(); count < row.wanted(); ++i) {
    ids[count] = static_cast<int32_t>(i);
    count += cut.takes(key_of(i)) ? 1 : 0;
  }
}

int64_t select_top(const Row& row) {
  const int64_t num_sink = append_range(0, row.sink(), row.ids, 0);
  find_top(row, row.ids + num_sink);
  return append_range(row.first_recent(), row.kv_len, row.ids, num_sink + row.wanted());
}

// Shares of the softmax over all tokens, in double. Where its formula is ∞ - ∞ its limit is used:
// equal shares of the tokens at the maximum.
class Shares {
 public:
  explicit Shares(const Row& row) : row_(row), scale_(double{row.params.scale}) {
    for (int64_t i = 0; i < row.kv_len; ++i) {
      max_ = std::max(max_, score(i));
    }
    for (int64_t i = 0; i < row.kv_len; ++i) {
      sum_ += weight(i);
    }
  }
  [[nodiscard]] double share(int64_t i) const { return weight(i) / sum_; }
  // Its share times sum().
  [[nodiscard]] double weight(int64_t i) const {
    const double value = score(i);
    return value == max_ ? 1.0 : std::exp((value - max_) * scale_);
  }
  [[nodiscard]] double sum() const { return sum_; }

 private:
  [[nodiscard]] double score(int64_t i) const {
    const float score = row_.scores[i];
    return std::isnan(score) ? -std::numeric_limits<double>::infinity() : double{score};
  }

  const Row& row_;
  double scale_;
  double max_ = -std::numeric_limits<double>::infinity();
  double sum_ = 0;
};

// A candidate's rank: better ones have higher numbers, ties the lower position.
uint64_t rank_of(const Row& row, int64_t i) {
  return uint64_t{score_key(row.scores[i])} << 32 | ~static_cast<uint32_t>(i);
}

int64_t position_of(uint64_t rank) {
  return ~static_cast<uint32_t>(rank);
}

// The fewest of the best candidates with which the mass is reached: no more than the others may
// have is left. That sum is exact where the others weigh nothing or alike, so that a mass of 1 is
// reached at the same token on every backend.
int64_t count_by_mass(const Row& row, const Shares& shares, const uint64_t* ranked,
                      int64_t num_ranked) {
  const double allowed = (1 - row.params.selection.mass) * shares.sum();
  double rest = 0;
  for (int64_t i = row.sink(); i < row.first_recent(); ++i) {
    rest += num_ranked == 0 || rank_of(row, i) < ranked[num_ranked - 1] ? shares.weight(i) : 0;
  }
  int64_t count = num_ranked;
  for (; count > 0; --count) {
    rest += shares.weight(position_of(ranked[count - 1]));
    if (rest > allowed) {
      return count;
    }
  }
  return 0;
}

// How many of the best candidates the mode wants.
int64_t count_by_share(const Row& row, const uint64_t* ranked, int64_t num_ranked) {
  const Selection& selection = row.params.selection;
  const Shares shares(row);
  if (selection.mode == SelectMode::kMass) {
    return count_by_mass(row, shares, ranked, num_ranked);
  }
  int64_t count = 0;
  while (count < num_ranked && shares.share(position_of(ranked[count])) >= selection.threshold) {
    ++count;
  }
  return count;
}

int64_t select_by_share(const Row& row) {
  const int64_t num_sink = append_range(0, row.sink(), row.ids, 0);
  int32_t* ids = row.ids + num_sink;
  find_top(row, ids);
  auto* ranked = reinterpret_cast<uint64_t*>(row.scratch);
  for (int64_t i = 0; i < row.wanted(); ++i) {
    ranked[i] = rank_of(row, ids[i]);
  }
  std::sort(ranked, ranked + row.wanted(), std::greater<>());
  const int64_t count = count_by_share(row, ranked, row.wanted());
  for (int64_t i = 0; i < count; ++i) {
    ids[i] = static_cast<int32_t>(position_of(ranked[i]));
  }
  std::sort(ids, ids + count);
  return append_range(row.first_recent(), row.kv_len, row.ids, num_sink + count);
}

int64_t select_blocks(const Row& row) {
  const int64_t num_blocks = ceil_div(row.kv_len, kBlock);
  const int64_t first_free = ceil_div(row.sink(), kBlock);
  const int64_t end_free = std::max(first_free, row.first_recent() / kBlock);
  auto* keys = reinterpret_cast<uint32_t*>(row.scratch);
  for (int64_t block = first_free; block < end_free; ++block) {
    uint32_t best = 0;
    for (int64_t i = block * kBlock; i < (block + 1) * kBlock; ++i) {
      best = std::max(best, score_key(row.scores[i]));
    }
    keys[block] = best;
  }
  const int64_t num_forced = num_blocks - (end_free - first_free);
  Cut cut =
      find_cut(first_free, end_free,
               std::clamp<int64_t>(row.budget / kBlock - num_forced, 0, end_free - first_free),
               [&](int64_t block) { return keys[block]; });
  int64_t count = append_range(0, first_free * kBlock, row.ids, 0);
  for (int64_t block = first_free; block < end_free; ++block) {
    if (cut.takes(keys[block])) {
      count = append_range(block * kBlock, (block + 1) * kBlock, row.ids, count);
    }
  }
  return append_range(end_free * kBlock, row.kv_len, row.ids, count);
}

int64_t select_row(const Row& row) {
  if (row.kv_len <= row.budget) {
    return append_range(0, row.kv_len, row.ids, 0);
  }
  if (row.params.selection.mode == SelectMode::kBlock) {
    return select_blocks(row);
  }
  return weighs_shares(row.params.selection.mode) ? select_by_share(row) : select_top(row);
}

int64_t scratch_bytes_per_row(const SelectTokensParams& params) {
  const auto word = static_cast<int64_t>(sizeof(uint32_t));
  const int64_t bytes = params.selection.mode == SelectMode::kBlock
                            ? ceil_div(params.scores_stride, kBlock) * word
                            : 2 * (max_candidates(params.token_ids_stride) + kGatherPadding) * word;
  return round_up<int64_t>(bytes, 64);
}

}  // namespace

int64_t select_tokens_workspace_bytes(const SelectTokensParams& params) {
  return params.num_rows * scratch_bytes_per_row(params);
}

void select_tokens(const SelectTokensParams& params) {
  const int64_t scratch_bytes = scratch_bytes_per_row(params);
#pragma omp parallel for schedule(dynamic) if (params.num_rows > 1)
  for (int64_t r = 0; r < params.num_rows; ++r) {
    const int64_t kv_len = params.kv_lens[r];
    const Row row{.params = params,
                  .scores = params.scores + r * params.scores_stride,
                  .kv_len = kv_len,
                  .budget = effective_budget(params.selection, kv_len),
                  .ids = params.token_ids + r * params.token_ids_stride,
                  .scratch = static_cast<std::byte*>(params.workspace) + r * scratch_bytes};
    params.num_ids[r] = static_cast<int32_t>(select_row(row));
  }
}

}  // namespace lychee::attention::cpu
