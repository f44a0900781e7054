#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "io/model_files.h"

namespace lychee::io {

// The whole of a small Llama in double precision, written from algorithm.md alone: dense prefill,
// and decode steps under a table of roles. Slow and obvious.
class NeedleOracle {
 public:
  struct Step {
    std::set<std::pair<int, int>> retrieval;  // beside layer 0; ignored when `dense`
    bool dense = false;
    int budget = 0;
    int sink = 0;
    int recent = 1;
  };

  explicit NeedleOracle(const ModelFiles& files) : files_(files), config_(files.config) {
    caches_.resize(static_cast<size_t>(config_.num_layers * config_.num_kv_heads));
  }

  void prefill(const std::vector<int>& ids) {
    for (const int id : ids) {
      feed(id, {.retrieval = {}, .dense = true});
    }
  }
  void decode(int id, const Step& step) { feed(id, step); }

  [[nodiscard]] const std::vector<double>& logits() const { return logits_; }
  [[nodiscard]] int best() const {
    return static_cast<int>(std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
  }

 private:
  using Vector = std::vector<double>;
  struct Cache {
    std::vector<Vector> k, v;
  };

  float weight(const std::string& name, size_t index) const {
    float value = 0;
    std::memcpy(&value, files_.tensors.at(name).data + index * sizeof(float), sizeof(float));
    return value;
  }
  static std::string layer_name(int layer, const std::string& name) {
    return "model.layers." + std::to_string(layer) + "." + name + ".weight";
  }
  // Read once: looking a tensor up for every entry would dominate.
  const Vector& tensor(const std::string& name) {
    Vector& values = tensors_[name];
    if (values.empty()) {
      values.resize(static_cast<size_t>(files_.tensors.at(name).count()));
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] = weight(name, i);
      }
    }
    return values;
  }
  Vector multiply(const std::string& name, const Vector& x) {
    const Vector& w = tensor(name);
    Vector y(w.size() / x.size(), 0);
    for (size_t row = 0; row < y.size(); ++row) {
      for (size_t i = 0; i < x.size(); ++i) {
        y[row] += w[row * x.size() + i] * x[i];
      }
    }
    return y;
  }
  Vector normalize(const std::string& name, const Vector& x) {
    const double square = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
    const double scale =
        1 / std::sqrt(square / static_cast<double>(x.size()) + double{config_.rms_norm_eps});
    Vector y = tensor(name);
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] *= x[i] * scale;
    }
    return y;
  }
  Vector head_of(const Vector& x, int head, bool rotated) const {
    const auto d = static_cast<size_t>(config_.head_dim);
    const auto at = x.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(head) * d);
    Vector y(at, at + static_cast<std::ptrdiff_t>(d));
    for (size_t i = 0; rotated && i < d / 2; ++i) {
      const double angle =
          static_cast<double>(length_) *
          std::pow(config_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
      const double a = y[i];
      const double b = y[i + d / 2];
      y[i] = a * std::cos(angle) - b * std::sin(angle);
      y[i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
    }
    return y;
  }
  static double dot(const Vector& a, const Vector& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  }

  std::vector<size_t> select(const Cache& cache, const Vector& mean_query, const Step& step) const {
    const size_t n = cache.k.size();
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    if (n <= static_cast<size_t>(step.budget)) {
      return order;
    }
    Vector scores(n);
    for (size_t j = 0; j < n; ++j) {
      const bool forced =
          j < static_cast<size_t>(step.sink) || j + static_cast<size_t>(step.recent) >= n;
      scores[j] = forced ? INFINITY : dot(mean_query, cache.k[j]);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(static_cast<size_t>(step.budget));
    return order;
  }

  Vector attend(const Cache& cache, const Vector& query, const std::vector<size_t>& ids) const {
    Vector weights;
    double top = -INFINITY;
    for (const size_t j : ids) {
      weights.push_back(dot(query, cache.k[j]) / std::sqrt(double(config_.head_dim)));
      top = std::max(top, weights.back());
    }
    double sum = 0;
    Vector out(query.size(), 0);
    for (size_t i = 0; i < ids.size(); ++i) {
      const double p = std::exp(weights[i] - top);
      sum += p;
      for (size_t c = 0; c < out.size(); ++c) {
        out[c] += p * cache.v[ids[i]][c];
      }
    }
    for (double& value : out) {
      value /= sum;
    }
    return out;
  }

  Vector attention(int layer, const Vector& y, const Step& step,
                   std::vector<std::vector<size_t>>& sets) {
    const Vector q = multiply(layer_name(layer, "self_attn.q_proj"), y);
    const Vector k = multiply(layer_name(layer, "self_attn.k_proj"), y);
    const Vector v = multiply(layer_name(layer, "self_attn.v_proj"), y);
    const int group = config_.num_q_heads / config_.num_kv_heads;
    Vector out;
    for (int head = 0; head < config_.num_kv_heads; ++head) {
      Cache& cache = caches_[static_cast<size_t>(layer * config_.num_kv_heads + head)];
      cache.k.push_back(head_of(k, head, true));
      cache.v.push_back(head_of(v, head, false));
      std::vector<size_t> all(cache.k.size());
      std::iota(all.begin(), all.end(), size_t{0});
      const bool whole = step.dense || layer == 0 || step.retrieval.contains({layer, head});
      Vector mean_query(static_cast<size_t>(config_.head_dim), 0);
      for (int g = 0; g < group; ++g) {
        const Vector query = head_of(q, head * group + g, true);
        for (size_t c = 0; c < query.size(); ++c) {
          mean_query[c] += query[c] / group;
        }
        const Vector part = attend(cache, query, whole ? all : sets[static_cast<size_t>(head)]);
        out.insert(out.end(), part.begin(), part.end());
      }
      if (whole && !step.dense) {
        sets[static_cast<size_t>(head)] = select(cache, mean_query, step);
      }
    }
    return multiply(layer_name(layer, "self_attn.o_proj"), out);
  }

  void feed(int id, const Step& step) {
    const Vector& embedding = tensor("model.embed_tokens.weight");
    const auto hidden = static_cast<size_t>(config_.hidden_size);
    const auto row = embedding.begin() + static_cast<std::ptrdiff_t>(hidden) * id;
    Vector x(row, row + static_cast<std::ptrdiff_t>(hidden));
    std::vector<std::vector<size_t>> sets(static_cast<size_t>(config_.num_kv_heads));
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      add(x, attention(layer, normalize(layer_name(layer, "input_layernorm"), x), step, sets));
      const Vector y = normalize(layer_name(layer, "post_attention_layernorm"), x);
      Vector gate = multiply(layer_name(layer, "mlp.gate_proj"), y);
      const Vector up = multiply(layer_name(layer, "mlp.up_proj"), y);
      for (size_t i = 0; i < gate.size(); ++i) {
        gate[i] *= up[i] / (1 + std::exp(-gate[i]));
      }
      add(x, multiply(layer_name(layer, "mlp.down_proj"), gate));
    }
    logits_ = multiply("lm_head.weight", normalize("model.norm.weight", x));
    ++length_;
  }
  static void add(Vector& x, const Vector& y) {
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] += y[i];
    }
  }

  const ModelFiles& files_;
  const ModelConfig& config_;
  std::map<std::string, Vector> tensors_;
  std::vector<Cache> caches_;  // [num_layers, num_kv_heads]
  Vector logits_;
  int64_t length_ = 0;
};

}  // namespace lychee::io
