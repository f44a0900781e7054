#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "io/needle/builtin_needle.h"

namespace lychee::io {
namespace {

constexpr std::string_view kPrefix = "builtin:";
constexpr std::string_view kNeedle = "needle";

int parse_int(std::string_view key, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  require(error == std::errc{} && end == text.data() + text.size(), ErrorCode::kInvalidArgument,
          "builtin:needle: ", key, "='", text, "' is not a whole number");
  return value;
}

void check_range(std::string_view key, int value, int low, int high) {
  require(value >= low && value <= high, ErrorCode::kInvalidArgument, "builtin:needle: ", key, "=",
          value, " is outside ", low, "…", high);
}

void set_parameter(NeedleSpec& spec, std::string_view key, std::string_view value) {
  const std::pair<std::string_view, int*> known[] = {
      {"layers", &spec.layers}, {"kv_heads", &spec.kv_heads},       {"layer", &spec.layer},
      {"head", &spec.head},     {"distractors", &spec.distractors}, {"group", &spec.group}};
  for (const auto& [name, field] : known) {
    if (name == key) {
      *field = parse_int(key, value);
      return;
    }
  }
  fail(ErrorCode::kInvalidArgument, "builtin:needle has no parameter '", key,
       "'; it has layers, kv_heads, layer, head, distractors and group");
}

// SplitMix64: the same order everywhere, unlike std::shuffle.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

bool is_builtin_model(std::string_view model) {
  return model.starts_with(kPrefix);
}

NeedleSpec parse_needle_spec(std::string_view model) {
  require(is_builtin_model(model), ErrorCode::kInvalidArgument, "'", model,
          "' does not name a built-in model: write builtin:needle");
  const std::string_view rest = model.substr(kPrefix.size());
  const size_t question = std::min(rest.find('?'), rest.size());
  require(rest.substr(0, question) == kNeedle, ErrorCode::kInvalidArgument, "no built-in model '",
          rest.substr(0, question), "'; there is builtin:needle");
  NeedleSpec spec;
  std::string_view list = rest.substr(std::min(question + 1, rest.size()));
  while (!list.empty()) {
    const size_t end = std::min(list.find('&'), list.size());
    const std::string_view item = list.substr(0, end);
    const size_t equals = item.find('=');
    require(equals != std::string_view::npos, ErrorCode::kInvalidArgument, "builtin:needle: '",
            item, "' is not key=value");
    set_parameter(spec, item.substr(0, equals), item.substr(equals + 1));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  check_range("layers", spec.layers, 4, 64);
  check_range("kv_heads", spec.kv_heads, 2, 32);
  check_range("group", spec.group, 1, 8);
  check_range("layer", spec.layer, 2, spec.layers - 2);
  check_range("head", spec.head, 0, spec.kv_heads - 1);
  check_range("distractors", spec.distractors, 0, spec.max_distractors());
  return spec;
}

NeedleHeads locate_needle_heads(const NeedleSpec& spec) {
  // The circuit's KV head selects nothing useful in layer 0: the only selecting head there that
  // looks at anything is another.
  const auto beside = [&](int step) { return (spec.head + step) % spec.kv_heads; };
  NeedleHeads heads{.previous = {0, beside(1)},
                    .previous_two = {1, beside(2)},
                    .previous_four = {1, beside(3)},
                    .retrieval = {spec.layer, spec.head},
                    .copy = {spec.layer + 1, spec.head},
                    .distractors = {}};
  std::vector<std::pair<int, int>> free;
  for (int layer = 1; layer < spec.layers; ++layer) {
    for (int head = 0; head < spec.kv_heads; ++head) {
      const std::pair<int, int> slot{layer, head};
      if (slot != heads.previous_two && slot != heads.previous_four && slot != heads.retrieval &&
          slot != heads.copy) {
        free.push_back(slot);
      }
    }
  }
  const auto order = [](const std::pair<int, int>& slot) {
    return mix((static_cast<uint64_t>(slot.first) << 32) | static_cast<uint64_t>(slot.second));
  };
  std::sort(free.begin(), free.end(),
            [&](const auto& a, const auto& b) { return order(a) < order(b); });
  heads.distractors.assign(free.begin(), free.begin() + spec.distractors);
  return heads;
}

}  // namespace lychee::io
