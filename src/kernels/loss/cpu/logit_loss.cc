#include "kernels/loss/logit_loss.h"

#include <algorithm>
#include <cmath>

namespace lychee::loss::cpu {
namespace {

double log_sum_exp(const float* logits, int64_t count) {
  const float max = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += double{std::exp(logits[i] - max)};
  }
  return double{max} + std::log(sum);
}

}  // namespace

void kl_divergence(const LogitLossParams<float>& p) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const float* teacher = p.teacher + r * p.vocab_size;
    float* student = p.student + r * p.vocab_size;
    const auto teacher_log_sum = static_cast<float>(log_sum_exp(teacher, p.vocab_size));
    const auto student_log_sum = static_cast<float>(log_sum_exp(student, p.vocab_size));
    const auto scale = static_cast<float>(p.scale);
    double loss = 0;
    for (int64_t i = 0; i < p.vocab_size; ++i) {
      const float teacher_log = teacher[i] - teacher_log_sum;
      const float student_log = student[i] - student_log_sum;
      const float probability = std::exp(teacher_log);
      loss += double{probability * (teacher_log - student_log)};
      student[i] = scale * (std::exp(student_log) - probability);
    }
    p.loss[r] = loss;
  }
}

void mean_square(const LogitLossParams<float>& p) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const float* teacher = p.teacher + r * p.vocab_size;
    float* student = p.student + r * p.vocab_size;
    const auto slope = static_cast<float>(2 * p.scale / static_cast<double>(p.vocab_size));
    double sum = 0;
    for (int64_t i = 0; i < p.vocab_size; ++i) {
      const float difference = student[i] - teacher[i];
      sum += double{difference * difference};
      student[i] = slope * difference;
    }
    p.loss[r] = sum / static_cast<double>(p.vocab_size);
  }
}

}  // namespace lychee::loss::cpu
