#include "training/distillation.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/math.h"

namespace lychee::training {
namespace {

constexpr std::array<std::pair<Loss, std::string_view>, 3> kLossNames = {
    {{Loss::kHidden, "hidden"}, {Loss::kLogits, "logits"}, {Loss::kKl, "kl"}}};

template <typename Real>
PassLimits limits_of(const DistillationOptions& options, const Backend<Real>& backend) {
  const RowChunks chunks = backend.chunks();
  return {.rows = std::max(options.max_target, std::min(options.max_context, chunks.prefill)),
          .context = options.max_context,
          .logit_rows =
              options.loss == Loss::kHidden ? 0 : std::min(options.max_target, chunks.logits)};
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
Distillation<Real>::Distillation(const io::ModelConfig& config, Backend<Real>& backend,
                                 const DistillationOptions& options)
    : config_(config),
      backend_(backend),
      options_(options),
      logit_rows_(limits_of(options, backend).logit_rows),
      pass_(config, backend, limits_of(options, backend)),
      chain_(config, backend, options.chain, options.selection, options.max_target,
             options.max_context + options.max_target),
      contexts_(static_cast<size_t>(config.num_layers)) {
  const auto size = [&](Array<Real>& array, int64_t count) {
    array = backend.template make<Real>(count);
  };
  for (LayerContext<Real>& context : contexts_) {
    size(context.k, options.max_context * config.num_kv_heads * config.head_dim);
    size(context.v, context.k.size());
  }
  const int64_t chunk = std::min(options.max_context, backend.chunks().prefill);
  const int64_t hidden = options.max_target * config.hidden_size;
  token_ids_ = backend.template make<int32_t>(std::max(chunk, options.max_target));
  answer_rows_ = backend.template make<int64_t>(options.max_target);
  size(prefill_, chunk * config.hidden_size);
  size(residual_, (config.num_layers + 1) * hidden);
  size(mids_, config.num_layers * hidden);
  for (Array<Real>* array : {&teacher_hidden_, &student_hidden_, &d_}) {
    size(*array, hidden);
  }
  size(z_, int64_t{config.num_layers} * config.num_kv_heads);
  d_z_ = backend.template make<double>(z_.size());
  const int64_t scored = chain_.per_q_head() ? config.num_q_heads : config.num_kv_heads;
  scores_ = backend.template make<float>(scored * options.max_target *
                                         (options.max_context + options.max_target));
  size(answer_hidden_, logit_rows_ * config.hidden_size);
  size(teacher_logits_, logit_rows_ * config.vocab_size);
  size(student_logits_, teacher_logits_.size());
  losses_ = backend.template make<double>(options.max_target);
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
std::vector<Real> Distillation<Real>::hidden() {
  std::vector<Real> hidden(static_cast<size_t>(rows_ * config_.hidden_size));
  backend_.fetch(std::span(hidden), static_cast<const Real*>(student_hidden_.data()));
  return hidden;
}

template <typename Real>
void Distillation<Real>::embed(std::span<const int32_t> token_ids, Real* x) {
  rows_ = std::ssize(token_ids);
  backend_.send(token_ids_.data(), token_ids);
  backend_.embed(token_ids_.data(), rows_, x);
}

template <typename Real>
void Distillation<Real>::append_context(int layer) {
  LayerContext<Real>& context = contexts_[static_cast<size_t>(layer)];
  rows::AppendParams<Real> p{.num_rows = rows_,
                             .num_kv_heads = config_.num_kv_heads,
                             .head_dim = config_.head_dim,
                             .rows = pass_.k(),
                             .context = context.k.data(),
                             .context_stride = options_.max_context,
                             .first_row = context_len_};
  backend_.append(p);
  p.rows = pass_.v();
  p.context = context.v.data();
  backend_.append(p);
}

template <typename Real>
void Distillation<Real>::run_layers(Real* x, bool append) {
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    pass_.project(layer, x);
    pass_.attend(dense_params(layer));
    if (append) {
      append_context(layer);
    }
    pass_.add_attention(layer, x, x);
    pass_.add_mlp(layer, x, x);
  }
}

template <typename Real>
void Distillation<Real>::set_budget(int budget) {
  chain_.set_budget(budget);
  forwarded_.clear();
}

template <typename Real>
void Distillation<Real>::set_context(std::span<const int32_t> token_ids) {
  const int64_t count = std::ssize(token_ids);
  require(count <= options_.max_context, ErrorCode::kInternal, "a context of ", count,
          " tokens, built for ", options_.max_context);
  context_len_ = 0;
  while (context_len_ < count) {
    const int64_t rows = std::min(backend_.chunks().prefill, count - context_len_);
    pass_.begin(rows, context_len_, count);
    embed(token_ids.subspan(static_cast<size_t>(context_len_), static_cast<size_t>(rows)),
          prefill_.data());
    run_layers(prefill_.data(), true);
    context_len_ += rows;
  }
  backend_.wait();
}

template <typename Real>
attention::BlendedAttentionParams<Real> Distillation<Real>::dense_params(int layer) {
  attention::BlendedAttentionParams<Real> p =
      pass_.attention_params(contexts_[static_cast<size_t>(layer)], options_.max_context);
  p.context_len = context_len_;
  return p;
}

template <typename Real>
attention::BlendedAttentionParams<Real> Distillation<Real>::student_params(int layer) {
  attention::BlendedAttentionParams<Real> p = dense_params(layer);
  p.z = z_.data() + static_cast<int64_t>(layer) * config_.num_kv_heads;
  p.sets = chain_.sets(layer);
  p.sets_per_q_head = chain_.per_q_head();
  return p;
}

template <typename Real>
void Distillation<Real>::set_target(std::span<const int32_t> token_ids,
                                    std::span<const uint8_t> answers) {
  const int64_t rows = std::ssize(token_ids);
  require(rows >= 1 && rows <= options_.max_target, ErrorCode::kInternal, "a target of ", rows,
          " tokens, built for ", options_.max_target);
  std::vector<int64_t> answer_rows;
  for (int64_t row = 0; row < rows; ++row) {
    if (options_.loss != Loss::kKl || answers[static_cast<size_t>(row)] != 0) {
      answer_rows.push_back(row);
    }
  }
  require(!answer_rows.empty(), ErrorCode::kInternal, "a target without answers");
  num_answers_ = std::ssize(answer_rows);
  forwarded_.clear();
  teacher_kept_ = false;
  backend_.send(answer_rows_.data(), std::span<const int64_t>(answer_rows));
  pass_.begin(rows, context_len_, 0);
  embed(token_ids, input_of(0));
  Real* x = input_of(config_.num_layers);
  backend_.copy(x, input_of(0), rows * config_.hidden_size);
  run_layers(x, false);
  pass_.final_norm(x, teacher_hidden_.data());
  backend_.wait();
}

template <typename Real>
void Distillation<Real>::forward_layer(int layer) {
  pass_.project(layer, input_of(layer));
  attention::BlendedAttentionParams<Real> p = student_params(layer);
  p.emit_scores = chain_.wanted(layer);
  p.scores_stride = context_len_ + rows_;
  p.scores_per_q_head = chain_.per_q_head();
  p.scores = p.emit_scores != nullptr ? scores_.data() : nullptr;
  pass_.attend(p);
  chain_.select(layer, scores_.data(), p.scores_stride);
  pass_.add_attention(layer, input_of(layer), mid_of(layer));
  pass_.add_mlp(layer, mid_of(layer), input_of(layer + 1));
}

template <typename Real>
void Distillation<Real>::forward_student(std::span<const double> z) {
  const auto heads = static_cast<int64_t>(config_.num_kv_heads);
  const std::vector<double> before = std::exchange(forwarded_, {});
  const auto same = std::ranges::mismatch(z, before).in1 - z.begin();
  const std::vector<Real> gates(z.begin(), z.end());
  backend_.send(z_.data(), std::span<const Real>(gates));
  pass_.begin(rows_, context_len_, 0);
  chain_.begin(rows_, context_len_, z);
  for (auto layer = static_cast<int>(same / heads); layer < config_.num_layers; ++layer) {
    forward_layer(layer);
  }
  forwarded_.assign(z.begin(), z.end());
  pass_.final_norm(input_of(config_.num_layers), student_hidden_.data());
  backend_.wait();
}

template <typename Real>
void Distillation<Real>::hidden_loss() {
  backend_.copy(d_.data(), student_hidden_.data(), rows_ * config_.hidden_size);
  backend_.hidden_mean_square({.num_rows = rows_,
                               .vocab_size = config_.hidden_size,
                               .teacher = teacher_hidden_.data(),
                               .student = d_.data(),
                               .scale = 1.0 / static_cast<double>(rows_),
                               .loss = losses_.data()});
}

// Of `count` answer rows from `first` on.
template <typename Real>
void Distillation<Real>::find_logits(int64_t first, int64_t count) {
  const auto logits_of = [&](const Array<Real>& states, Array<Real>& logits) {
    backend_.gather({.num_rows = count,
                     .dim = config_.hidden_size,
                     .from = states.data(),
                     .row_ids = answer_rows_.data() + first,
                     .to = answer_hidden_.data()});
    pass_.linear(backend_.weights().lm_head, count, answer_hidden_.data(), logits.data(), false);
  };
  if (!teacher_kept_) {
    logits_of(teacher_hidden_, teacher_logits_);
    teacher_kept_ = count == num_answers_;
  }
  logits_of(student_hidden_, student_logits_);
}

template <typename Real>
void Distillation<Real>::logit_loss(bool gradient) {
  if (gradient) {
    backend_.zero(d_.data(), rows_ * config_.hidden_size);
  }
  // Equal parts: a few rows left over would be multiplied one by one.
  const int64_t most = ceil_div(num_answers_, ceil_div(num_answers_, logit_rows_));
  for (int64_t first = 0; first < num_answers_; first += most) {
    const int64_t count = std::min(most, num_answers_ - first);
    find_logits(first, count);
    const loss::LogitLossParams<Real> p{.num_rows = count,
                                        .vocab_size = config_.vocab_size,
                                        .teacher = teacher_logits_.data(),
                                        .student = student_logits_.data(),
                                        .scale = 1.0 / static_cast<double>(num_answers_),
                                        .loss = losses_.data() + first};
    options_.loss == Loss::kKl ? backend_.kl_divergence(p) : backend_.mean_square(p);
    if (gradient) {
      pass_.linear_backward(backend_.weights().lm_head, count, student_logits_.data(),
                            answer_hidden_.data(), false);
      backend_.scatter({.num_rows = count,
                        .dim = config_.hidden_size,
                        .from = answer_hidden_.data(),
                        .row_ids = answer_rows_.data() + first,
                        .to = d_.data()});
    }
  }
}

template <typename Real>
double Distillation<Real>::find_loss(bool gradient) {
  options_.loss == Loss::kHidden ? hidden_loss() : logit_loss(gradient);
  std::vector<double> losses(static_cast<size_t>(num_answers_));
  backend_.fetch(std::span(losses), static_cast<const double*>(losses_.data()));
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(num_answers_);
}

template <typename Real>
void Distillation<Real>::backward(std::span<double> d_z) {
  const auto heads = static_cast<size_t>(config_.num_kv_heads);
  pass_.final_norm_backward(input_of(config_.num_layers), d_.data(), d_.data());
  for (int layer = config_.num_layers - 1; layer > 0; --layer) {
    pass_.add_mlp_backward(layer, mid_of(layer), d_.data());
    pass_.project(layer, input_of(layer));
    pass_.add_attention_backward(layer, student_params(layer), input_of(layer), d_.data(),
                                 d_z_.data() + static_cast<size_t>(layer) * heads, layer == 1);
  }
  // Layer 0 has no gates.
  backend_.fetch(d_z.subspan(heads), static_cast<const double*>(d_z_.data()) + heads);
}

template <typename Real>
DistillationResult Distillation<Real>::run(std::span<const double> z) {
  const auto heads = static_cast<size_t>(config_.num_kv_heads);
  require(z.size() == static_cast<size_t>(config_.num_layers) * heads, ErrorCode::kInternal,
          z.size(), " gates");
  DistillationResult result;
  result.d_z.resize(z.size());
  result.times.student = seconds_of([&] { forward_student(z); });
  result.times.loss = seconds_of([&] { result.loss = find_loss(true); });
  result.times.backward = seconds_of([&] { backward(result.d_z); });
  return result;
}

template <typename Real>
double Distillation<Real>::loss(std::span<const double> z) {
  forward_student(z);
  return find_loss(false);
}

template class Distillation<float>;
template class Distillation<double>;

}  // namespace lychee::training
