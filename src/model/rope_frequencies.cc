#include "model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace lychee::model {

namespace {

double frequency(double theta, int i, int head_dim) {
  return 1.0 / std::pow(theta, 2.0 * i / head_dim);
}

// NTK-aware: the base grows with the length, so that the lowest frequency spans it.
double dynamic_theta(const io::ModelConfig& config, int64_t length, double original) {
  const double stretched = std::max(static_cast<double>(length), original);
  const double factor = config.rope_scaling.factor;
  const double d = config.head_dim;
  return config.rope_theta * std::pow(factor * stretched / original - (factor - 1), d / (d - 2));
}

double llama3_frequency(const io::RopeScaling& scaling, double original, double inv_freq) {
  const double wavelength = 2 * std::numbers::pi / inv_freq;
  if (wavelength < original / scaling.high_freq_factor) {
    return inv_freq;
  }
  if (wavelength > original / scaling.low_freq_factor) {
    return inv_freq / scaling.factor;
  }
  const double smooth = (original / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * inv_freq / scaling.factor + smooth * inv_freq;
}

// Share of extrapolation (unscaled frequency) of dimension i (YaRN, arXiv 2309.00071, section 3.2).
class YarnRamp {
 public:
  YarnRamp(const io::ModelConfig& config, double original) {
    const io::RopeScaling& scaling = config.rope_scaling;
    const auto dimension = [&](double rotations) {
      return config.head_dim * std::log(original / (rotations * 2 * std::numbers::pi)) /
             (2 * std::log(config.rope_theta));
    };
    low_ = dimension(scaling.beta_fast);
    high_ = dimension(scaling.beta_slow);
    if (scaling.truncate) {
      low_ = std::floor(low_);
      high_ = std::ceil(high_);
    }
    low_ = std::max(low_, 0.0);
    high_ = std::min(high_, config.head_dim - 1.0);
    if (low_ == high_) {
      high_ += 0.001;  // as Hugging Face: avoids a division by zero
    }
  }
  [[nodiscard]] double extrapolation(int i) const {
    return 1 - std::clamp((i - low_) / (high_ - low_), 0.0, 1.0);
  }

 private:
  double low_;
  double high_;
};

double yarn_mscale(double scale, double mscale) {
  return scale <= 1 ? 1 : 0.1 * mscale * std::log(scale) + 1;
}

double yarn_attention_factor(const io::RopeScaling& scaling) {
  if (scaling.attention_factor) {
    return *scaling.attention_factor;
  }
  if (scaling.mscale != 0 && scaling.mscale_all_dim != 0) {
    return yarn_mscale(scaling.factor, scaling.mscale) /
           yarn_mscale(scaling.factor, scaling.mscale_all_dim);
  }
  return yarn_mscale(scaling.factor, 1);
}

}  // namespace

RopeFrequencies rope_frequencies(const io::ModelConfig& config, int64_t length) {
  const io::RopeScaling& scaling = config.rope_scaling;
  const auto original = static_cast<double>(scaling.original_context > 0 ? scaling.original_context
                                                                         : config.context_length);
  const int half = config.head_dim / 2;
  RopeFrequencies result;
  result.inv_freq.resize(static_cast<size_t>(half));
  const double theta = scaling.type == io::RopeType::kDynamic
                           ? dynamic_theta(config, length, original)
                           : config.rope_theta;
  const YarnRamp ramp(config, original);
  for (int i = 0; i < half; ++i) {
    double inv_freq = frequency(theta, i, config.head_dim);
    if (!config.rope_freq_factors.empty()) {
      inv_freq /= static_cast<double>(config.rope_freq_factors[static_cast<size_t>(i)]);
    }
    switch (scaling.type) {
      case io::RopeType::kLinear:
        inv_freq /= scaling.factor;
        break;
      case io::RopeType::kLlama3:
        inv_freq = llama3_frequency(scaling, original, inv_freq);
        break;
      case io::RopeType::kYarn: {
        const double share = ramp.extrapolation(i);
        inv_freq = inv_freq / scaling.factor * (1 - share) + inv_freq * share;
        break;
      }
      case io::RopeType::kDefault:
      case io::RopeType::kDynamic:
        break;
    }
    result.inv_freq[static_cast<size_t>(i)] = static_cast<float>(inv_freq);
  }
  if (scaling.type == io::RopeType::kYarn) {
    result.attention_factor = static_cast<float>(yarn_attention_factor(scaling));
  }
  return result;
}

}  // namespace lychee::model
