#pragma once

#include <cstdint>

#include "io/needle/builtin_needle.h"

namespace lychee::io {

constexpr int kNeedleHidden = 128;
constexpr int kNeedleIntermediate = 32;  // SwiGLU is present and zero
constexpr int kNeedleHeadDim = 32;
constexpr double kNeedleRopeTheta = 1e18;

// Allocates and writes every tensor of the circuit into `files`.
void write_needle_weights(const NeedleSpec& spec, ModelFiles& files);

}  // namespace lychee::io
