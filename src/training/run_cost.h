#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

namespace lychee::training {

// Seconds that the parts of a step took. A step that reuses its context has neither of the first
// two.
struct StepTimes {
  double prefill = 0;   // of the context
  double teacher = 0;   // its target rows
  double student = 0;   // forward
  double loss = 0;      // both logits, and the gradient by the final hidden states
  double backward = 0;  // through the layers
};

// Its parts in their order, with the names that people and files see.
inline constexpr std::array<std::pair<std::string_view, double StepTimes::*>, 5> kStepParts = {
    {{"prefill", &StepTimes::prefill},
     {"teacher", &StepTimes::teacher},
     {"student", &StepTimes::student},
     {"loss", &StepTimes::loss},
     {"backward", &StepTimes::backward}}};

inline StepTimes& operator+=(StepTimes& times, const StepTimes& other) {
  for (const auto& [name, part] : kStepParts) {
    times.*part += other.*part;
  }
  return times;
}
inline StepTimes& operator/=(StepTimes& times, double count) {
  for (const auto& [name, part] : kStepParts) {
    times.*part /= count;
  }
  return times;
}
[[nodiscard]] inline double sum_of(const StepTimes& times) {
  double sum = 0;
  for (const auto& [name, part] : kStepParts) {
    sum += times.*part;
  }
  return sum;
}

// What the steps of one call cost; a resumed run does not know what those before it did.
struct RunCost {
  int64_t steps = 0;
  double seconds = 0;        // per step, the making of its sample included
  StepTimes times;           // per step
  int64_t peak_bytes = 0;    // of the host's memory
  int64_t device_bytes = 0;  // of the GPU's
};

// How long `work` took.
template <typename Work>
[[nodiscard]] double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace lychee::training
