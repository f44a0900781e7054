#include "kernels/loss/logit_loss.h"

#include <algorithm>
#include <cmath>

namespace lychee::loss::reference {
namespace {

double log_sum_exp(const double* logits, int64_t count) {
  const double max = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum += std::exp(logits[i] - max);
  }
  return max + std::log(sum);
}

}  // namespace

void kl_divergence(const LogitLossParams<double>& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const double* teacher = p.teacher + r * p.vocab_size;
    double* student = p.student + r * p.vocab_size;
    const double teacher_log_sum = log_sum_exp(teacher, p.vocab_size);
    const double student_log_sum = log_sum_exp(student, p.vocab_size);
    double loss = 0;
    for (int64_t i = 0; i < p.vocab_size; ++i) {
      const double teacher_log = teacher[i] - teacher_log_sum;
      const double student_log = student[i] - student_log_sum;
      const double probability = std::exp(teacher_log);
      loss += probability * (teacher_log - student_log);
      student[i] = p.scale * (std::exp(student_log) - probability);
    }
    p.loss[r] = loss;
  }
}

void mean_square(const LogitLossParams<double>& p) {
  for (int64_t r = 0; r < p.num_rows; ++r) {
    const double* teacher = p.teacher + r * p.vocab_size;
    double* student = p.student + r * p.vocab_size;
    const double slope = 2 * p.scale / static_cast<double>(p.vocab_size);
    double sum = 0;
    for (int64_t i = 0; i < p.vocab_size; ++i) {
      const double difference = student[i] - teacher[i];
      sum += difference * difference;
      student[i] = slope * difference;
    }
    p.loss[r] = sum / static_cast<double>(p.vocab_size);
  }
}

}  // namespace lychee::loss::reference
