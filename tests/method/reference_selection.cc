#include "method/reference_selection.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace lychee::test {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double ordered(double score) {
  return std::isnan(score) ? -kInfinity : score;
}

int64_t budget_of(const Selection& selection, int64_t n) {
  if (selection.mode != SelectMode::kRatio) {
    return selection.budget;
  }
  return std::max<int64_t>(int64_t{selection.sink} + selection.recent,
                           static_cast<int64_t>(std::ceil(selection.ratio * double(n))));
}

bool is_forced(int64_t position, int64_t n, const Selection& selection) {
  return position < selection.sink || position >= n - selection.recent;
}

ReferenceSet all_tokens(int64_t n) {
  std::vector<int64_t> positions(static_cast<size_t>(n));
  std::iota(positions.begin(), positions.end(), 0);
  return {positions, kInfinity};
}

double range_of(const std::vector<double>& scores) {
  const auto [low, high] = std::minmax_element(scores.begin(), scores.end());
  return std::max(*high - *low, std::numeric_limits<double>::min());
}

// Positions (or pages) that are not forced, best first, ties to the lower.
std::vector<int64_t> ranked(const std::vector<double>& scores, const std::vector<bool>& forced) {
  std::vector<int64_t> rest;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!forced[i]) {
      rest.push_back(static_cast<int64_t>(i));
    }
  }
  std::stable_sort(rest.begin(), rest.end(), [&](int64_t a, int64_t b) {
    return ordered(scores[size_t(a)]) > ordered(scores[size_t(b)]);
  });
  return rest;
}

double score_gap(const std::vector<double>& scores, const std::vector<int64_t>& rest,
                 int64_t taken) {
  if (taken <= 0 || taken >= static_cast<int64_t>(rest.size())) {
    return kInfinity;
  }
  const double last = scores[size_t(rest[size_t(taken - 1)])];
  const double next = scores[size_t(rest[size_t(taken)])];
  return (last - next) / range_of(scores);
}

// The forced and the first `taken` of `rest`, of units of `unit` positions.
std::vector<int64_t> expand(const std::vector<bool>& forced, const std::vector<int64_t>& rest,
                            int64_t taken, int64_t unit, int64_t n) {
  std::vector<bool> in = forced;
  for (int64_t i = 0; i < taken; ++i) {
    in[size_t(rest[size_t(i)])] = true;
  }
  std::vector<int64_t> positions;
  for (int64_t position = 0; position < n; ++position) {
    if (in[size_t(position / unit)]) {
      positions.push_back(position);
    }
  }
  return positions;
}

std::vector<bool> forced_units(int64_t n, int64_t unit, const Selection& selection) {
  std::vector<bool> forced(static_cast<size_t>((n + unit - 1) / unit), false);
  for (int64_t position = 0; position < n; ++position) {
    if (is_forced(position, n, selection)) {
      forced[size_t(position / unit)] = true;
    }
  }
  return forced;
}

// Forced units, then the best until `num_units` units.
ReferenceSet best_units(const std::vector<double>& scores, int64_t n, int64_t unit,
                        int64_t num_units, const Selection& selection) {
  const std::vector<bool> forced = forced_units(n, unit, selection);
  const std::vector<int64_t> rest = ranked(scores, forced);
  const int64_t num_forced = std::count(forced.begin(), forced.end(), true);
  const int64_t taken = std::clamp<int64_t>(num_units - num_forced, 0, int64_t(rest.size()));
  return {expand(forced, rest, taken, unit, n), score_gap(scores, rest, taken)};
}

ReferenceSet best_blocks(const std::vector<double>& scores, const Selection& selection) {
  constexpr int64_t kBlock = Selection::kBlockSize;
  const auto n = static_cast<int64_t>(scores.size());
  std::vector<double> best(static_cast<size_t>((n + kBlock - 1) / kBlock), -kInfinity);
  for (int64_t position = 0; position < n; ++position) {
    double& block = best[size_t(position / kBlock)];
    block = std::max(block, ordered(scores[size_t(position)]));
  }
  return best_units(best, n, kBlock, selection.budget / kBlock, selection);
}

std::vector<double> softmax(const std::vector<double>& scores, double scale) {
  double highest = -kInfinity;
  for (const double score : scores) {
    highest = std::max(highest, ordered(score));
  }
  std::vector<double> p;
  double sum = 0;
  for (const double score : scores) {
    p.push_back(std::exp((ordered(score) - highest) * scale));
    sum += p.back();
  }
  for (double& value : p) {
    value /= sum;
  }
  return p;
}

ReferenceSet until_mass(const std::vector<double>& scores, const Selection& selection,
                        double scale) {
  const auto n = static_cast<int64_t>(scores.size());
  const std::vector<double> p = softmax(scores, scale);
  const std::vector<bool> forced = forced_units(n, 1, selection);
  const std::vector<int64_t> rest = ranked(scores, forced);
  double mass = 0;
  int64_t size = 0;
  for (int64_t position = 0; position < n; ++position) {
    if (forced[size_t(position)]) {
      mass += p[size_t(position)];
      ++size;
    }
  }
  double gap = std::fabs(mass - selection.mass);
  int64_t taken = 0;
  while (taken < int64_t(rest.size()) && size < selection.budget && mass < selection.mass) {
    mass += p[size_t(rest[size_t(taken)])];
    gap = std::min(gap, std::fabs(mass - selection.mass));
    ++taken;
    ++size;
  }
  return {expand(forced, rest, taken, 1, n), std::min(gap, score_gap(scores, rest, taken))};
}

ReferenceSet above_threshold(const std::vector<double>& scores, const Selection& selection,
                             double scale) {
  const auto n = static_cast<int64_t>(scores.size());
  const std::vector<double> p = softmax(scores, scale);
  const std::vector<bool> forced = forced_units(n, 1, selection);
  const std::vector<int64_t> rest = ranked(scores, forced);
  const int64_t room = selection.budget - std::count(forced.begin(), forced.end(), true);
  double gap = kInfinity;
  int64_t taken = 0;
  for (const int64_t position : rest) {
    const double off = std::fabs(std::log(p[size_t(position)] / selection.threshold)) / scale;
    gap = std::min(gap, off / range_of(scores));
    taken += p[size_t(position)] >= selection.threshold && taken < room ? 1 : 0;
  }
  return {expand(forced, rest, taken, 1, n), std::min(gap, score_gap(scores, rest, taken))};
}

}  // namespace

ReferenceSet reference_select(const std::vector<double>& scores, const Selection& selection,
                              double scale) {
  const auto n = static_cast<int64_t>(scores.size());
  const int64_t k = budget_of(selection, n);
  if (n <= k) {
    return all_tokens(n);
  }
  switch (selection.mode) {
    case SelectMode::kBlock:
      return best_blocks(scores, selection);
    case SelectMode::kMass:
      return until_mass(scores, selection, scale);
    case SelectMode::kThreshold:
      return above_threshold(scores, selection, scale);
    case SelectMode::kTopK:
    case SelectMode::kRatio:
      break;
  }
  return best_units(scores, n, 1, k, selection);
}

ReferenceSet reference_select_pages(const std::vector<double>& bounds, int64_t n,
                                    const Selection& selection) {
  const int64_t k = budget_of(selection, n);
  return n <= k ? all_tokens(n) : best_units(bounds, n, 16, k / 16, selection);
}

ReferenceSet reference_streaming(int64_t n, const Selection& selection) {
  const int64_t k = budget_of(selection, n);
  if (n <= k) {
    return all_tokens(n);
  }
  std::vector<int64_t> positions;
  for (int64_t position = 0; position < n; ++position) {
    if (position < selection.sink || position >= n - (k - selection.sink)) {
      positions.push_back(position);
    }
  }
  return {positions, kInfinity};
}

}  // namespace lychee::test
