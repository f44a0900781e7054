#pragma once

#include <filesystem>
#include <string>

#include "training/trainer.h"

namespace lychee::training {

// The state of a run as bytes, with a checksum, and back. `options` is the text of the run's
// options: a checkpoint of other options is refused. Throws Error(kInvalidArgument) naming `file`
// for bytes that are no whole checkpoint of this version, or of other options.
[[nodiscard]] std::string encode_checkpoint(const TrainerState& state, const std::string& options);
[[nodiscard]] TrainerState decode_checkpoint(const std::string& bytes, const std::string& options,
                                             const std::string& file);

}  // namespace lychee::training
