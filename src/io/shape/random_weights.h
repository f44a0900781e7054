#pragma once

#include "io/model_files.h"

namespace lychee::io {

// Allocates every tensor of files.config under Hugging Face's names and fills it: matrices with
// noise, biases with zeros, norms with ones.
void write_random_weights(DType weights, ModelFiles& files);

}  // namespace lychee::io
