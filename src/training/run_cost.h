#pragma once

#include <chrono>
#include <cstdint>

namespace lychee::training {

// Seconds that the parts of a step took. A step that reuses its context has neither of the first
// two.
struct StepTimes {
  double prefill = 0;   // of the context
  double teacher = 0;   // its target rows
  double student = 0;   // forward
  double loss = 0;      // both logits, and the gradient by the final hidden states
  double backward = 0;  // through the layers

  StepTimes& operator+=(const StepTimes& other) {
    prefill += other.prefill;
    teacher += other.teacher;
    student += other.student;
    loss += other.loss;
    backward += other.backward;
    return *this;
  }
  StepTimes& operator/=(double count) {
    prefill /= count;
    teacher /= count;
    student /= count;
    loss /= count;
    backward /= count;
    return *this;
  }
};

// What the steps of one call cost; a resumed run does not know what those before it did.
struct RunCost {
  int64_t steps = 0;
  double seconds = 0;  // per step, the making of its sample included
  StepTimes times;     // per step
  int64_t peak_bytes = 0;
};

// How long `work` took.
template <typename Work>
[[nodiscard]] double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace lychee::training
