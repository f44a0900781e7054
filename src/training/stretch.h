#pragma once

namespace lychee::training {

// The interval that a relaxed gate is stretched to before it is clipped to [0, 1].
constexpr double kStretchLow = -0.1;
constexpr double kStretchHigh = 1.1;

}  // namespace lychee::training
