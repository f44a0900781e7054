#pragma once

#include "cli/train_options.h"
#include "text/tokenizer.h"
#include "training/training_data.h"

namespace lychee::cli {

// The texts that the options name, read and ready to be made into samples. `tokenizer` must outlive
// it. Throws Error(kIo) or Error(kInvalidArgument) naming a file.
[[nodiscard]] training::TrainingData training_data(const TrainOptions& options,
                                                   const text::Tokenizer& tokenizer);

}  // namespace lychee::cli
