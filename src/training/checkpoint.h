#pragma once

#include <filesystem>
#include <string>

#include "training/plan_refiner.h"
#include "training/trainer.h"

namespace lychee::training {

// All that a run carries from call to call.
struct RunState {
  TrainerState training;
  RefinerState refinement;
};

// The state of a run as bytes, with a checksum, and back. `options` is the text of the run's
// options: a checkpoint of other options is refused. Throws Error(kInvalidArgument) naming `file`
// for bytes that are no whole checkpoint of this version, or of other options.
[[nodiscard]] std::string encode_checkpoint(const RunState& state, const std::string& options);
[[nodiscard]] RunState decode_checkpoint(const std::string& bytes, const std::string& options,
                                         const std::string& file);

}  // namespace lychee::training
