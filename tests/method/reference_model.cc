#include "method/reference_model.h"

#include <algorithm>
#include <cmath>

#include "method/reference_selection.h"

namespace lychee::test {

namespace {

using Vector = std::vector<double>;

Vector rms_norm(const Vector& x, const Vector& weight, double eps) {
  double squares = 0;
  for (const double value : x) {
    squares += value * value;
  }
  const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  Vector y;
  for (size_t i = 0; i < x.size(); ++i) {
    y.push_back(x[i] * scale * weight[i]);
  }
  return y;
}

void add(Vector& to, const Vector& what) {
  for (size_t i = 0; i < to.size(); ++i) {
    to[i] += what[i];
  }
}

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

Vector part(const Vector& x, int index, int size) {
  const auto begin = x.begin() + std::ptrdiff_t{index} * size;
  return {begin, begin + size};
}

Vector mlp(const ReferenceLayer& layer, const Vector& x) {
  Vector gate = layer.gate.times(x);
  const Vector up = layer.up.times(x);
  for (size_t i = 0; i < gate.size(); ++i) {
    gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  }
  return layer.down.times(gate);
}

Vector log_softmax(Vector logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) {
    sum += std::exp(logit - highest);
  }
  for (double& logit : logits) {
    logit -= highest + std::log(sum);
  }
  return logits;
}

}  // namespace

ReferenceSequence::ReferenceSequence(const ReferenceModel& model, GenerationOptions options,
                                     std::optional<DType> kv_rounding)
    : model_(&model), options_(std::move(options)), kv_rounding_(kv_rounding) {
  const auto layers = static_cast<size_t>(model.config().num_layers);
  const auto heads = static_cast<size_t>(model.config().num_kv_heads);
  cache_.assign(layers, std::vector<Cache>(heads));
  recall_.assign(layers, std::vector<double>(heads, 1));
}

void ReferenceSequence::set_options(GenerationOptions options) {
  options_ = std::move(options);
  stats_ = {};
  since_correction_ = 0;
  smallest_gap_ = std::numeric_limits<double>::infinity();
}

std::vector<Vector> ReferenceSequence::prefill(std::span<const int32_t> token_ids) {
  const int64_t whole = length() + static_cast<int64_t>(token_ids.size());
  std::vector<Vector> rows;
  since_correction_ = 0;  // a correction forwards consecutive generated tokens
  for (const int32_t token_id : token_ids) {
    token_ids_.push_back(token_id);
    rows.push_back(forward(token_id, length() - 1, whole, true));
  }
  return rows;
}

Vector ReferenceSequence::decode(int32_t token_id) {
  token_ids_.push_back(token_id);
  const int64_t n = length();
  ++stats_.decode_steps;
  ++since_correction_;
  Vector log_probs;
  if (options_.cache_correction > 0 && since_correction_ == options_.cache_correction) {
    for (int64_t position = n - since_correction_; position < n; ++position) {
      log_probs = forward(token_ids_[static_cast<size_t>(position)], position, n, true);
    }
    since_correction_ = 0;
    ++stats_.corrections;
  } else {
    const bool dense = n <= options_.dense_below;
    stats_.dense_steps += dense ? 1 : 0;
    log_probs = forward(token_id, n - 1, n, dense);
  }
  account(n);
  return log_probs;
}

Vector ReferenceSequence::forward(int32_t token_id, int64_t position, int64_t rope_length,
                                  bool dense) {
  const ReferenceWeights& weights = model_->weights();
  const auto heads = static_cast<size_t>(weights.config.num_kv_heads);
  const double eps = double{weights.config.rms_norm_eps};
  carried_.assign(heads, std::nullopt);
  sets_.assign(weights.layers.size(), std::vector<TokenSet>(heads));
  summary_bytes_ = 0;
  Vector x = part(weights.embedding.values, token_id, weights.config.hidden_size);
  for (int layer = 0; layer < weights.config.num_layers; ++layer) {
    const ReferenceLayer& w = weights.layers[static_cast<size_t>(layer)];
    add(x, attention(layer, rms_norm(x, w.attention_norm, eps), position, rope_length, dense));
    add(x, mlp(w, rms_norm(x, w.mlp_norm, eps)));
  }
  return log_softmax(weights.output.times(rms_norm(x, weights.final_norm, eps)));
}

Vector ReferenceSequence::attention(int layer, const Vector& x, int64_t position,
                                    int64_t rope_length, bool dense) {
  const io::ModelConfig& config = model_->config();
  const ReferenceLayer& w = model_->weights().layers[static_cast<size_t>(layer)];
  const Vector q = project(w.q, w.q_norm, x, position, rope_length);
  store(layer, project(w.k, w.k_norm, x, position, rope_length), w.v.times(x), position);
  const int64_t n = position + 1;
  const int group_size = config.num_q_heads / config.num_kv_heads;
  Vector out;
  for (int head = 0; head < config.num_kv_heads; ++head) {
    const TokenSet set = read_set(layer, head, q, n, dense);
    double& recall = recall_[static_cast<size_t>(layer)][static_cast<size_t>(head)];
    recall = 0;
    for (int g = 0; g < group_size; ++g) {
      double mass = 1;
      const Vector part_out = attend(layer, head * group_size + g, q, set, n, &mass);
      out.insert(out.end(), part_out.begin(), part_out.end());
      recall += mass / group_size;
    }
    sets_[static_cast<size_t>(layer)][static_cast<size_t>(head)] = set;
  }
  if (!dense) {
    update_carried(layer, q, n);
  }
  return w.o.times(out);
}

Vector ReferenceSequence::project(const Matrix& matrix, const Vector& norm, const Vector& x,
                                  int64_t position, int64_t rope_length) const {
  const io::ModelConfig& config = model_->config();
  const int d = config.head_dim;
  const ReferenceRope rope = reference_rope(config, rope_length);
  const Vector flat = matrix.times(x);
  Vector result;
  for (int head = 0; head < static_cast<int>(flat.size()) / d; ++head) {
    Vector y = part(flat, head, d);
    if (!norm.empty()) {
      y = rms_norm(y, norm, double{config.rms_norm_eps});
    }
    Vector rotated(y.size());
    for (size_t i = 0; i < y.size() / 2; ++i) {
      const size_t j = i + y.size() / 2;
      const double angle = static_cast<double>(position) * rope.frequencies[i];
      const double cosine = std::cos(angle) * rope.attention_factor;
      const double sine = std::sin(angle) * rope.attention_factor;
      rotated[i] = y[i] * cosine - y[j] * sine;
      rotated[j] = y[j] * cosine + y[i] * sine;
    }
    result.insert(result.end(), rotated.begin(), rotated.end());
  }
  return result;
}

double ReferenceSequence::round_kv(double value) const {
  if (kv_rounding_ == DType::kF16) {
    return double{static_cast<float>(f16(static_cast<float>(value)))};
  }
  if (kv_rounding_ == DType::kBF16) {
    return double{static_cast<float>(bf16(static_cast<float>(value)))};
  }
  return value;
}

void ReferenceSequence::store(int layer, const Vector& k, const Vector& v, int64_t position) {
  const int d = model_->config().head_dim;
  const auto rounded = [&](const Vector& flat, int head) {
    Vector y = part(flat, head, d);
    for (double& value : y) {
      value = round_kv(value);
    }
    return y;
  };
  const auto at = static_cast<size_t>(position);
  for (int head = 0; head < model_->config().num_kv_heads; ++head) {
    Cache& cache = cache_[static_cast<size_t>(layer)][static_cast<size_t>(head)];
    cache.k.resize(std::max(cache.k.size(), at + 1));
    cache.v.resize(std::max(cache.v.size(), at + 1));
    cache.k[at] = rounded(k, head);
    cache.v[at] = rounded(v, head);
  }
}

Vector ReferenceSequence::mean_query(const Vector& q, int kv_head) const {
  const io::ModelConfig& config = model_->config();
  const int group_size = config.num_q_heads / config.num_kv_heads;
  Vector mean(static_cast<size_t>(config.head_dim), 0);
  for (int g = 0; g < group_size; ++g) {
    add(mean, part(q, kv_head * group_size + g, config.head_dim));
  }
  for (double& value : mean) {
    value /= group_size;
  }
  return mean;
}

Vector ReferenceSequence::scores(int layer, int kv_head, const Vector& q, int64_t n) const {
  const Cache& cache = cache_[static_cast<size_t>(layer)][static_cast<size_t>(kv_head)];
  const Vector mean = mean_query(q, kv_head);
  Vector result;
  for (int64_t position = 0; position < n; ++position) {
    result.push_back(dot(mean, cache.k[static_cast<size_t>(position)]));
  }
  return result;
}

// Attention of one query head over the set, or over all n tokens. `recall`: the softmax mass that
// the set has under attention over everything.
Vector ReferenceSequence::attend(int layer, int q_head, const Vector& q, const TokenSet& set,
                                 int64_t n, double* recall) const {
  const io::ModelConfig& config = model_->config();
  const int kv_head = q_head / (config.num_q_heads / config.num_kv_heads);
  const Cache& cache = cache_[static_cast<size_t>(layer)][static_cast<size_t>(kv_head)];
  const Vector query = part(q, q_head, config.head_dim);
  const double scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  Vector logits;
  double highest = -std::numeric_limits<double>::infinity();
  for (int64_t position = 0; position < n; ++position) {
    logits.push_back(dot(query, cache.k[static_cast<size_t>(position)]) * scale);
    highest = std::max(highest, logits.back());
  }
  std::vector<bool> read(static_cast<size_t>(n), !set);
  for (const int64_t position : set.value_or(std::vector<int64_t>{})) {
    read[static_cast<size_t>(position)] = true;
  }
  Vector out(static_cast<size_t>(config.head_dim), 0);
  double everything = 0;
  double sum = 0;
  for (size_t position = 0; position < read.size(); ++position) {
    const double p = std::exp(logits[position] - highest);
    everything += p;
    if (read[position]) {
      sum += p;
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] += p * cache.v[position][i];
      }
    }
  }
  for (double& value : out) {
    value /= sum;
  }
  *recall = sum / everything;
  return out;
}

}  // namespace lychee::test
