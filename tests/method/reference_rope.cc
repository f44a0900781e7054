// RoPE frequencies and their scaling, as Hugging Face transformers defines them, in double.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "method/reference_model.h"

namespace lychee::test {

namespace {

double original_context(const io::ModelConfig& config) {
  const int64_t original = config.rope_scaling.original_context;
  return static_cast<double>(original > 0 ? original : config.context_length);
}

double llama3_frequency(double frequency, const io::RopeScaling& scaling, double original) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < original / scaling.high_freq_factor) {
    return frequency;
  }
  if (wavelength > original / scaling.low_freq_factor) {
    return frequency / scaling.factor;
  }
  const double smooth = (original / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// The dimension whose wavelength makes `rotations` turns over the original context.
double yarn_dimension(double rotations, double dim, double theta, double original) {
  return dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

double yarn_frequency(double frequency, int i, const io::ModelConfig& config) {
  const io::RopeScaling& scaling = config.rope_scaling;
  const double dim = config.head_dim;
  const double original = original_context(config);
  double low = yarn_dimension(scaling.beta_fast, dim, config.rope_theta, original);
  double high = yarn_dimension(scaling.beta_slow, dim, config.rope_theta, original);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) {
    high += 0.001;
  }
  const double ramp = std::clamp((i - low) / (high - low), 0.0, 1.0);
  return frequency / scaling.factor * ramp + frequency * (1 - ramp);
}

double yarn_attention_factor(const io::RopeScaling& scaling) {
  if (scaling.attention_factor) {
    return *scaling.attention_factor;
  }
  const auto mscale = [&](double m) {
    return scaling.factor <= 1 ? 1.0 : 0.1 * m * std::log(scaling.factor) + 1.0;
  };
  if (scaling.mscale != 0 && scaling.mscale_all_dim != 0) {
    return mscale(scaling.mscale) / mscale(scaling.mscale_all_dim);
  }
  return mscale(1);
}

}  // namespace

ReferenceRope reference_rope(const io::ModelConfig& config, int64_t length) {
  const io::RopeScaling& scaling = config.rope_scaling;
  const double dim = config.head_dim;
  double theta = config.rope_theta;
  if (scaling.type == io::RopeType::kDynamic) {
    const double original = original_context(config);
    const double used = std::max(static_cast<double>(length), original);
    theta *= std::pow(scaling.factor * used / original - (scaling.factor - 1), dim / (dim - 2));
  }
  ReferenceRope rope{{}, 1};
  for (int i = 0; i < config.head_dim / 2; ++i) {
    double frequency = std::pow(theta, -2.0 * i / dim);
    if (scaling.type == io::RopeType::kLinear) {
      frequency /= scaling.factor;
    } else if (scaling.type == io::RopeType::kLlama3) {
      frequency = llama3_frequency(frequency, scaling, original_context(config));
    } else if (scaling.type == io::RopeType::kYarn) {
      frequency = yarn_frequency(frequency, i, config);
    }
    if (!config.rope_freq_factors.empty()) {
      frequency /= double{config.rope_freq_factors[static_cast<size_t>(i)]};
    }
    rope.frequencies.push_back(frequency);
  }
  if (scaling.type == io::RopeType::kYarn) {
    rope.attention_factor = yarn_attention_factor(scaling);
  }
  return rope;
}

}  // namespace lychee::test
