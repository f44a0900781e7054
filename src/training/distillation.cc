#include "training/distillation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/math.h"

namespace lychee::training {
namespace {

constexpr int64_t kPrefillRows = 512;  // of the context at a time
constexpr int64_t kLogitRows = 128;    // logits of at most these exist at a time

constexpr std::array<std::pair<Loss, std::string_view>, 3> kLossNames = {
    {{Loss::kHidden, "hidden"}, {Loss::kLogits, "logits"}, {Loss::kKl, "kl"}}};

float attention_scale(const io::ModelConfig& config) {
  return 1 / std::sqrt(static_cast<float>(config.head_dim));
}

}  // namespace

std::string_view loss_name(Loss loss) {
  return kLossNames.at(static_cast<size_t>(loss)).second;
}

std::optional<Loss> parse_loss(std::string_view name) {
  for (const auto& [loss, known] : kLossNames) {
    if (known == name) {
      return loss;
    }
  }
  return std::nullopt;
}

template <typename Real>
Distillation<Real>::Distillation(const io::ModelConfig& config, const model::ModelWeights& weights,
                                 const Kernels<Real>& kernels, const DistillationOptions& options)
    : config_(config),
      weights_(weights),
      kernels_(kernels),
      options_(options),
      pass_(config, weights, kernels,
            std::max(options.max_target, std::min(options.max_context, kPrefillRows))),
      chain_(options.chain, options.selection, config.num_q_heads, config.num_kv_heads,
             attention_scale(config), kernels.select_tokens, kernels.select_tokens_workspace_bytes),
      contexts_(static_cast<size_t>(config.num_layers)),
      inputs_(static_cast<size_t>(config.num_layers)) {
  const auto context_values =
      static_cast<size_t>(options.max_context * config.num_kv_heads * config.head_dim);
  for (LayerContext<Real>& context : contexts_) {
    context.k.resize(context_values);
    context.v.resize(context_values);
  }
  const auto rows = static_cast<size_t>(options.max_target * config.hidden_size);
  const auto layers = static_cast<size_t>(config.num_layers);
  residual_.resize((layers + 1) * rows);
  mids_.resize(layers * rows);
  teacher_hidden_.resize(rows);
  student_hidden_.resize(rows);
  d_.resize(rows);
}

template <typename Real>
Real* Distillation<Real>::input_of(int layer) {
  return residual_.data() + layer * options_.max_target * config_.hidden_size;
}

template <typename Real>
Real* Distillation<Real>::mid_of(int layer) {
  return mids_.data() + layer * options_.max_target * config_.hidden_size;
}

template <typename Real>
void Distillation<Real>::append_context(int layer, int64_t first, int64_t rows) {
  LayerContext<Real>& context = contexts_[static_cast<size_t>(layer)];
  const int64_t d = config_.head_dim;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t head = 0; head < config_.num_kv_heads; ++head) {
      const int64_t from = (row * config_.num_kv_heads + head) * d;
      const int64_t to = (head * options_.max_context + first + row) * d;
      std::copy_n(pass_.k() + from, d, context.k.data() + to);
      std::copy_n(pass_.v() + from, d, context.v.data() + to);
    }
  }
}

template <typename Real>
void Distillation<Real>::set_context(std::span<const int32_t> token_ids) {
  const auto count = static_cast<int64_t>(token_ids.size());
  require(count <= options_.max_context, ErrorCode::kInternal, "a context of ", count,
          " tokens, built for ", options_.max_context);
  std::vector<Real> x(static_cast<size_t>(std::min(count, kPrefillRows) * config_.hidden_size));
  context_len_ = 0;
  while (context_len_ < count) {
    const int64_t rows = std::min(kPrefillRows, count - context_len_);
    pass_.begin(rows, context_len_, count);
    pass_.embed(token_ids.data() + context_len_, x.data());
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      pass_.project(layer, x.data());
      pass_.attend(layer_params(layer, {}));
      append_context(layer, context_len_, rows);
      pass_.add_attention(layer, x.data(), x.data());
      pass_.add_mlp(layer, x.data(), x.data());
    }
    context_len_ += rows;
  }
}

template <typename Real>
attention::BlendedAttentionParams<Real> Distillation<Real>::layer_params(
    int layer, const LayerInputs& inputs) {
  attention::BlendedAttentionParams<Real> p =
      pass_.attention_params(contexts_[static_cast<size_t>(layer)], options_.max_context);
  p.context_len = context_len_;
  p.z = inputs.z.data();
  p.sets = inputs.views.empty() ? nullptr : inputs.views.data();
  p.sets_per_q_head = chain_.per_q_head();
  return p;
}

template <typename Real>
void Distillation<Real>::set_target(std::span<const int32_t> token_ids,
                                    std::span<const uint8_t> answers) {
  const auto rows = static_cast<int64_t>(token_ids.size());
  require(rows >= 1 && rows <= options_.max_target, ErrorCode::kInternal, "a target of ", rows,
          " tokens, built for ", options_.max_target);
  target_.assign(token_ids.begin(), token_ids.end());
  answer_rows_.clear();
  for (int64_t row = 0; row < rows; ++row) {
    if (options_.loss != Loss::kKl || answers[static_cast<size_t>(row)] != 0) {
      answer_rows_.push_back(row);
    }
  }
  require(!answer_rows_.empty(), ErrorCode::kInternal, "a target without answers");
  pass_.begin(rows, context_len_, 0);
  Real* x = input_of(config_.num_layers);
  pass_.embed(target_.data(), x);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    pass_.project(layer, x);
    pass_.attend(layer_params(layer, {}));
    pass_.add_attention(layer, x, x);
    pass_.add_mlp(layer, x, x);
  }
  pass_.final_norm(x, teacher_hidden_.data());
}

template <typename Real>
void Distillation<Real>::forward_layer(int layer, std::span<const double> z) {
  LayerInputs& inputs = inputs_[static_cast<size_t>(layer)];
  inputs.z.assign(z.begin(), z.end());
  inputs.sets = chain_.sets();
  inputs.views.clear();
  for (const auto& sets : inputs.sets) {
    inputs.views.push_back({sets->ids.data(), sets->num_ids.data(), sets->stride});
  }
  pass_.project(layer, input_of(layer));
  attention::BlendedAttentionParams<Real> p = layer_params(layer, inputs);
  const std::vector<uint8_t> wanted = chain_.wanted(z);
  const auto rows = static_cast<int64_t>(target_.size());
  p.scores_stride = context_len_ + rows;
  p.scores_per_q_head = chain_.per_q_head();
  p.emit_scores = wanted.data();
  const int64_t heads = chain_.per_q_head() ? config_.num_q_heads : config_.num_kv_heads;
  scores_.resize(static_cast<size_t>(heads * rows * p.scores_stride));
  p.scores = scores_.data();
  pass_.attend(p);
  chain_.update(wanted, scores_.data(), p.scores_stride);
  pass_.add_attention(layer, input_of(layer), mid_of(layer));
  pass_.add_mlp(layer, mid_of(layer), input_of(layer + 1));
}

template <typename Real>
void Distillation<Real>::forward_student(std::span<const double> z) {
  const auto rows = static_cast<int64_t>(target_.size());
  pass_.begin(rows, context_len_, 0);
  pass_.embed(target_.data(), input_of(0));
  chain_.begin(rows, context_len_);
  const auto heads = static_cast<size_t>(config_.num_kv_heads);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    forward_layer(layer, z.subspan(static_cast<size_t>(layer) * heads, heads));
  }
  pass_.final_norm(input_of(config_.num_layers), student_hidden_.data());
}

template <typename Real>
double Distillation<Real>::hidden_loss() {
  const size_t count = target_.size() * static_cast<size_t>(config_.hidden_size);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const auto difference =
        static_cast<double>(student_hidden_[i]) - static_cast<double>(teacher_hidden_[i]);
    sum += difference * difference;
    d_[i] = static_cast<Real>(2 * difference / static_cast<double>(count));
  }
  return sum / static_cast<double>(count);
}

template <typename Real>
double Distillation<Real>::logit_loss() {
  const int64_t hidden = config_.hidden_size;
  const int64_t vocab = config_.vocab_size;
  const auto count = static_cast<int64_t>(answer_rows_.size());
  std::fill_n(d_.begin(), target_.size() * static_cast<size_t>(hidden), Real{0});
  // Equal parts: a few rows left over would be multiplied one by one.
  const int64_t most = ceil_div(count, ceil_div(count, kLogitRows));
  std::vector<Real> rows(static_cast<size_t>(most * hidden));
  std::vector<Real> teacher(static_cast<size_t>(most * vocab));
  std::vector<Real> student(teacher.size());
  std::vector<double> losses(static_cast<size_t>(most));
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += most) {
    const int64_t here = std::min(most, count - begin);
    const auto logits_of = [&](const std::vector<Real>& states, std::vector<Real>& logits) {
      for (int64_t i = 0; i < here; ++i) {
        std::copy_n(states.data() + answer_rows_[static_cast<size_t>(begin + i)] * hidden, hidden,
                    rows.data() + i * hidden);
      }
      pass_.linear(weights_.lm_head, here, rows.data(), logits.data(), false);
    };
    logits_of(teacher_hidden_, teacher);
    logits_of(student_hidden_, student);
    (options_.loss == Loss::kKl ? kernels_.kl_divergence
                                : kernels_.mean_square)({.num_rows = here,
                                                         .vocab_size = vocab,
                                                         .teacher = teacher.data(),
                                                         .student = student.data(),
                                                         .scale = 1.0 / static_cast<double>(count),
                                                         .loss = losses.data()});
    pass_.linear_backward(weights_.lm_head, here, student.data(), rows.data(), false);
    for (int64_t i = 0; i < here; ++i) {
      sum += losses[static_cast<size_t>(i)];
      std::copy_n(rows.data() + i * hidden, hidden,
                  d_.data() + answer_rows_[static_cast<size_t>(begin + i)] * hidden);
    }
  }
  return sum / static_cast<double>(count);
}

template <typename Real>
double Distillation<Real>::find_loss() {
  return options_.loss == Loss::kHidden ? hidden_loss() : logit_loss();
}

template <typename Real>
void Distillation<Real>::backward(std::vector<double>& d_z) {
  pass_.final_norm_backward(input_of(config_.num_layers), d_.data(), d_.data());
  for (int layer = config_.num_layers - 1; layer > 0; --layer) {
    pass_.add_mlp_backward(layer, mid_of(layer), d_.data());
    pass_.project(layer, input_of(layer));
    pass_.add_attention_backward(
        layer, layer_params(layer, inputs_[static_cast<size_t>(layer)]), input_of(layer), d_.data(),
        d_z.data() + static_cast<int64_t>(layer) * config_.num_kv_heads, layer == 1);
  }
}

template <typename Real>
DistillationResult Distillation<Real>::run(std::span<const double> z) {
  const auto heads = static_cast<size_t>(config_.num_kv_heads);
  require(z.size() == static_cast<size_t>(config_.num_layers) * heads, ErrorCode::kInternal,
          z.size(), " gates");
  DistillationResult result;
  result.d_z.resize(z.size());
  result.times.student = seconds_of([&] { forward_student(z); });
  result.times.loss = seconds_of([&] { result.loss = find_loss(); });
  result.times.backward = seconds_of([&] { backward(result.d_z); });
  return result;
}

template class Distillation<float>;
template class Distillation<double>;

}  // namespace lychee::training
