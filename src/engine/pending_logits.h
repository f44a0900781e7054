#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "model/decoder.h"

namespace lychee::engine {

// Logits that the decoder still holds, and where they belong: they move there when somebody asks
// for them, or when a pass of other sequences would overwrite them.
class PendingLogits {
 public:
  using Logits = std::vector<float>;

  explicit PendingLogits(model::Decoder& decoder) : decoder_(decoder) {}

  // Row first_row + i of the decoder's last pass belongs in owners[i]; they are empty until then.
  // Nothing may be pending.
  void set(int64_t first_row, std::vector<Logits*> owners);
  // The row of `owner` is of no more use.
  void forget(const Logits& owner);
  // Moves all that is pending to its owners.
  void fetch();
  [[nodiscard]] bool has(const Logits& owner) const { return row_of(owner).has_value(); }
  // The id drawn for `owner`, where the decoder can without moving them.
  [[nodiscard]] std::optional<int32_t> draw(const Logits& owner,
                                            const sampling::SampleParams& params,
                                            double uniform) const;

 private:
  [[nodiscard]] std::optional<int64_t> row_of(const Logits& owner) const;

  model::Decoder& decoder_;
  int64_t first_row_ = 0;
  std::vector<Logits*> owners_;  // null: forgotten
};

}  // namespace lychee::engine
