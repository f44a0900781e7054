#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sampling/cpu/sample.cc"
#include "kernels/sampling/sample.h"

#include <hwy/foreach_target.h>  // before highway.h
#include <hwy/highway.h>
// After highway.h, and once per target.
#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/exp2_inl.h"

HWY_BEFORE_NAMESPACE();
namespace lychee::sampling::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Calls fn(tag, i) for vectors of tag's lanes that begin at i: as many as fit, then single values.
template <class D, typename Fn>
HWY_INLINE void for_each_vector(D d, size_t count, const Fn& fn) {
  size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    fn(d, i);
  }
  for (; i < count; ++i) {
    fn(hn::CappedTag<hn::TFromD<D>, 1>(), i);
  }
}

// weights[i] = 2^(scale · (logits[i] - max)) for i < count, 0 for NaN.
void weigh(const float* logits, size_t count, float max, float scale, float* weights) {
  for_each_vector(hn::ScalableTag<float>(), count, [&](auto tag, size_t i) {
    const auto x =
        hn::Mul(hn::Sub(hn::LoadU(tag, logits + i), hn::Set(tag, max)), hn::Set(tag, scale));
    const auto power = lychee::cpu::HWY_NAMESPACE::exp2_nonpositive(tag, x);
    hn::StoreU(hn::IfThenElseZero(hn::Eq(x, x), power), tag, weights + i);
  });
}

// to[i] = exp(logits[i] - max) for i < count; NaN stays NaN.
void exponentials(const float* logits, size_t count, double max, double* to) {
  for_each_vector(hn::ScalableTag<double>(), count, [&](auto tag, size_t i) {
    const hn::Rebind<float, decltype(tag)> narrow;
    const auto x = hn::Sub(hn::PromoteTo(tag, hn::LoadU(narrow, logits + i)), hn::Set(tag, max));
    // hn::Exp makes it 0, which would hide that a model's logits are broken.
    hn::StoreU(hn::IfThenElse(hn::Eq(x, x), hn::Exp(tag, x), x), tag, to + i);
  });
}

}  // namespace lychee::sampling::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lychee::sampling::cpu {
namespace {

HWY_EXPORT(weigh);
HWY_EXPORT(exponentials);

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr size_t kBlock = 256;  // tokens that are skipped or summed together
constexpr size_t kLanes = 16;   // side by side, which the compiler keeps in vectors

struct Candidate {
  int32_t id;
  float logit;
  float weight;  // of the softmax, before it is normalised
};

bool precedes(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

bool has_lower_id(const Candidate& a, const Candidate& b) {
  return a.id < b.id;
}

// Of values that are not NaN.
float largest(std::span<const float> values) {
  std::array<float, kLanes> maxima;
  maxima.fill(kNone);
  for (size_t i = 0; i < values.size(); i += kLanes) {
    const size_t count = std::min(kLanes, values.size() - i);
    for (size_t lane = 0; lane < count; ++lane) {
      const float value = values[i + lane];
      maxima[lane] = value > maxima[lane] ? value : maxima[lane];
    }
  }
  return *std::max_element(maxima.begin(), maxima.end());
}

template <typename T>
double sum_of(std::span<const T> values) {
  std::array<double, kLanes> sums{};
  for (size_t i = 0; i < values.size(); i += kLanes) {
    const size_t count = std::min(kLanes, values.size() - i);
    for (size_t lane = 0; lane < count; ++lane) {
      sums[lane] += static_cast<double>(values[i + lane]);
    }
  }
  double sum = 0;
  for (const double lane : sums) {
    sum += lane;
  }
  return sum;
}

std::span<const float> block_of(std::span<const float> values, size_t first) {
  return values.subspan(first, std::min(kBlock, values.size() - first));
}

// The highest logit's id, the lowest of equal ones; NaN counts as -inf.
int32_t most_likely(std::span<const float> logits) {
  const float max = largest(logits);
  return max == kNone
             ? 0
             : static_cast<int32_t>(std::find(logits.begin(), logits.end(), max) - logits.begin());
}

std::vector<float> penalized(std::span<const float> logits, double penalty,
                             std::span<const int32_t> previous) {
  std::vector<float> values(logits.begin(), logits.end());
  for (const int32_t id : previous) {
    const auto logit = static_cast<double>(logits[static_cast<size_t>(id)]);
    values[static_cast<size_t>(id)] =
        static_cast<float>(logit > 0 ? logit / penalty : logit * penalty);
  }
  return values;
}

std::vector<float> block_maxima(std::span<const float> values) {
  std::vector<float> maxima;
  maxima.reserve(values.size() / kBlock + 1);
  for (size_t first = 0; first < values.size(); first += kBlock) {
    maxima.push_back(largest(block_of(values, first)));
  }
  return maxima;
}

// Places of values of at least `floor`, in order. Blocks without any cost one comparison.
std::vector<size_t> places_of(std::span<const float> values, std::span<const float> maxima,
                              float floor) {
  std::vector<size_t> places;
  for (size_t block = 0; block < maxima.size(); ++block) {
    if (maxima[block] < floor) {
      continue;
    }
    const size_t first = block * kBlock;
    for (size_t i = first; i < std::min(first + kBlock, values.size()); ++i) {
      if (values[i] >= floor) {
        places.push_back(i);
      }
    }
  }
  return places;
}

// The `count` largest, by id. As many blocks' maxima are no smaller than the least of these, which
// so few others reach that little is left to be ordered.
std::vector<Candidate> largest_logits(std::span<const float> logits, size_t count) {
  const std::vector<float> maxima = block_maxima(logits);
  float floor = kNone;
  if (count < maxima.size()) {
    std::vector<float> order = maxima;
    const auto least = order.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(order.begin(), least, order.end(), std::greater<>());
    floor = *least;
  }
  std::vector<Candidate> candidates;
  for (const size_t place : places_of(logits, maxima, floor)) {
    candidates.push_back({static_cast<int32_t>(place), logits[place], 0});
  }
  if (count < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count),
                     candidates.end(), precedes);
    candidates.resize(count);
    std::sort(candidates.begin(), candidates.end(), has_lower_id);
  }
  return candidates;
}

// Leaves the shortest descending prefix whose weight reaches `wanted`, but one token at least, of
// weights up to 1. Weights are summed by their exponents and first bits, which order as they do:
// only the bin in which the prefix ends is sorted.
void keep_heaviest(std::vector<Candidate>& candidates, double wanted) {
  constexpr int kBits = 16;  // that a bin's weights differ in
  const auto bin_of = [](float weight) { return std::bit_cast<uint32_t>(weight) >> kBits; };
  std::vector<double> masses(bin_of(1) + 1);
  for (const Candidate& c : candidates) {
    masses[bin_of(c.weight)] += static_cast<double>(c.weight);
  }
  double sum = 0;
  size_t bin = masses.size() - 1;
  for (; bin > 0 && (masses[bin] == 0 || sum + masses[bin] < wanted); --bin) {
    sum += masses[bin];
  }
  std::vector<Candidate> last;
  for (const Candidate& c : candidates) {
    if (bin_of(c.weight) == bin) {
      last.push_back(c);
    }
  }
  std::sort(last.begin(), last.end(), precedes);
  for (const Candidate& end : last) {
    sum += static_cast<double>(end.weight);
    if (sum >= wanted) {
      std::erase_if(candidates, [&](const Candidate& c) { return precedes(end, c); });
      return;
    }
  }
}

// Inverse of the distribution function, ids in ascending order: where in `weights`, one of which is
// positive, it is reached.
size_t draw(std::span<const float> weights, double uniform) {
  std::vector<double> masses;
  double total = 0;
  for (size_t first = 0; first < weights.size(); first += kBlock) {
    masses.push_back(sum_of(block_of(weights, first)));
    total += masses.back();
  }
  const double target = uniform * total;
  double sum = 0;
  size_t block = 0;
  while (block + 1 < masses.size() && sum + masses[block] <= target) {
    sum += masses[block++];
  }
  size_t last = 0;  // of the block that weighs anything: rounding can leave its sum a little short
  const size_t first = block * kBlock;
  for (size_t i = first; i < std::min(first + kBlock, weights.size()); ++i) {
    sum += static_cast<double>(weights[i]);
    last = weights[i] > 0 ? i : last;
    if (sum > target) {
      break;
    }
  }
  return last;
}

// Draws by top_k, top_p and min_p from logits whose largest is `max`.
int32_t draw_token(std::span<const float> logits, const SampleParams& params, float max,
                   double uniform) {
  const auto weigh_all = HWY_DYNAMIC_DISPATCH(weigh);
  const float scale = weight_scale(params.temperature);
  std::vector<Candidate> candidates;
  std::vector<float> kept;  // the candidates' logits
  const bool chooses = params.top_k > 0 && static_cast<size_t>(params.top_k) < logits.size();
  if (chooses) {
    candidates = largest_logits(logits, static_cast<size_t>(params.top_k));
    for (const Candidate& c : candidates) {
      kept.push_back(c.logit);
    }
    logits = kept;
  }
  const auto id_of = [&](size_t place) {
    return chooses ? candidates[place].id : static_cast<int32_t>(place);
  };
  std::vector<float> weights(logits.size());
  weigh_all(logits.data(), logits.size(), max, scale, weights.data());
  if (params.top_p >= 1 && params.min_p <= 0) {
    return id_of(draw(weights, uniform));
  }
  const double mass = sum_of(std::span<const float>(weights));
  // All tokens lighter than this hold less than 1 - top_p together, so top_p's prefix lies in the
  // others; halved for rounding. The largest weight is 1.
  const double share = (1 - params.top_p) * mass / (2 * static_cast<double>(weights.size()));
  std::vector<Candidate> heavy;
  for (const size_t place : places_of(weights, block_maxima(weights),
                                      static_cast<float>(std::max(share, params.min_p)))) {
    heavy.push_back({id_of(place), logits[place], weights[place]});
  }
  if (params.top_p < 1) {
    keep_heaviest(heavy, params.top_p * mass);
  }
  weights.clear();
  for (const Candidate& c : heavy) {
    weights.push_back(c.weight);
  }
  return heavy[draw(weights, uniform)].id;
}

}  // namespace

int32_t sample(std::span<const float> logits, const SampleParams& params,
               std::span<const int32_t> previous, double uniform) {
  require(!logits.empty(), ErrorCode::kInternal, "sample: no logits");
  std::vector<float> values;
  if (params.repetition_penalty != 1) {
    values = penalized(logits, params.repetition_penalty, previous);
    logits = values;
  }
  const int32_t best = most_likely(logits);
  const float max = logits[static_cast<size_t>(best)];
  if (params.temperature <= 0 || !std::isfinite(max)) {
    return best;
  }
  return draw_token(logits, params, max, uniform);
}

double log_sum_exp(std::span<const float> logits) {
  const float max = largest(logits);
  if (!std::isfinite(max)) {
    return static_cast<double>(max);
  }
  const auto take = HWY_DYNAMIC_DISPATCH(exponentials);
  std::array<double, kBlock> values;
  double sum = 0;
  for (size_t first = 0; first < logits.size(); first += kBlock) {
    const std::span<const float> block = block_of(logits, first);
    take(block.data(), block.size(), static_cast<double>(max), values.data());
    sum += sum_of(std::span<const double>(values).first(block.size()));
  }
  return static_cast<double>(max) + std::log(sum);
}

double log_prob(std::span<const float> logits, int32_t id) {
  return static_cast<double>(logits[static_cast<size_t>(id)]) - log_sum_exp(logits);
}

}  // namespace lychee::sampling::cpu
#endif
