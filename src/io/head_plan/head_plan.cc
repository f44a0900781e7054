#include "lychee/head_plan.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <utility>

#include "base/check.h"
#include "io/head_plan/head_plan_files.h"

namespace lychee {
namespace {

void check_count(int num_layers, int num_kv_heads, int num_retrieval) {
  const int64_t most = int64_t{num_layers} * num_kv_heads;
  require(num_retrieval >= num_kv_heads && num_retrieval <= most, ErrorCode::kInvalidArgument,
          "a head plan for ", num_layers, " layers of ", num_kv_heads, " KV heads cannot have ",
          num_retrieval, " retrieval heads: between ", num_kv_heads,
          " (layer 0 is all retrieval) and ", most);
}

// Entry `entry` of layers 1…, counted head by head, layer fastest.
void set_retrieval(HeadPlan& plan, int64_t entry) {
  const int64_t layers = plan.num_layers() - 1;
  plan.set_role(static_cast<int>(1 + entry % layers), static_cast<int>(entry / layers),
                HeadRole::kRetrieval);
}

// Uniform in [0, count). Rejection keeps it unbiased; std::uniform_int_distribution would differ
// between standard libraries.
uint64_t draw_below(std::mt19937_64& generator, uint64_t count) {
  constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max();
  const uint64_t limit = kLargest - kLargest % count;
  uint64_t value = generator();
  while (value >= limit) {
    value = generator();
  }
  return value % count;
}

}  // namespace

HeadPlan::HeadPlan(int num_layers, int num_kv_heads)
    : num_layers_(num_layers), num_kv_heads_(num_kv_heads) {
  constexpr int64_t kMaxRoles = int64_t{1} << 28;
  require(num_layers >= 1 && num_kv_heads >= 1 && int64_t{num_layers} * num_kv_heads <= kMaxRoles,
          ErrorCode::kInvalidArgument, "a head plan of ", num_layers, " layers and ", num_kv_heads,
          " KV heads: both must be at least 1, their product at most ", kMaxRoles);
  roles_.assign(static_cast<size_t>(num_layers) * static_cast<size_t>(num_kv_heads),
                HeadRole::kSparse);
  std::fill_n(roles_.begin(), num_kv_heads, HeadRole::kRetrieval);
}

HeadPlan HeadPlan::uniform(int num_layers, int num_kv_heads, int num_retrieval) {
  HeadPlan plan(num_layers, num_kv_heads);
  check_count(num_layers, num_kv_heads, num_retrieval);
  const int64_t entries = int64_t{num_layers - 1} * num_kv_heads;  // M
  const int64_t chosen = num_retrieval - num_kv_heads;             // R
  for (int64_t i = 0; i < chosen; ++i) {
    set_retrieval(plan, (2 * i + 1) * entries / (2 * chosen));
  }
  plan.name = "uniform:" + std::to_string(num_retrieval);
  return plan;
}

HeadPlan HeadPlan::random(int num_layers, int num_kv_heads, int num_retrieval, uint64_t seed) {
  HeadPlan plan(num_layers, num_kv_heads);
  check_count(num_layers, num_kv_heads, num_retrieval);
  std::vector<int64_t> entries(static_cast<size_t>(num_layers - 1) *
                               static_cast<size_t>(num_kv_heads));
  std::iota(entries.begin(), entries.end(), 0);
  std::mt19937_64 generator(seed);
  const auto chosen = static_cast<size_t>(num_retrieval - num_kv_heads);
  for (size_t i = 0; i < chosen; ++i) {
    std::swap(entries[i], entries[i + draw_below(generator, entries.size() - i)]);
    set_retrieval(plan, entries[i]);
  }
  plan.name = "random:" + std::to_string(num_retrieval) + ":" + std::to_string(seed);
  return plan;
}

HeadRole HeadPlan::role(int layer, int kv_head) const {
  require(layer >= 0 && layer < num_layers_ && kv_head >= 0 && kv_head < num_kv_heads_,
          ErrorCode::kInvalidArgument, "no head (", layer, ", ", kv_head, ") in a plan of ",
          num_layers_, " layers and ", num_kv_heads_, " KV heads");
  return roles_[static_cast<size_t>(layer) * static_cast<size_t>(num_kv_heads_) +
                static_cast<size_t>(kv_head)];
}

void HeadPlan::set_role(int layer, int kv_head, HeadRole role) {
  static_cast<void>(this->role(layer, kv_head));
  require(layer > 0 || role == HeadRole::kRetrieval, ErrorCode::kInvalidArgument,
          "layer 0 of a head plan is all retrieval");
  roles_[static_cast<size_t>(layer) * static_cast<size_t>(num_kv_heads_) +
         static_cast<size_t>(kv_head)] = role;
}

int HeadPlan::num_retrieval() const {
  return static_cast<int>(std::ranges::count(roles_, HeadRole::kRetrieval));
}

HeadPlan load_head_plan(const std::filesystem::path& folder, const HeadPlanShape& shape) {
  io::HeadPlanFiles files = io::read_head_plan_folder(folder);
  io::check_head_plan_shape(files, shape, folder.string());
  return std::move(files.plan);
}

void save_head_plan(const HeadPlan& plan, const std::filesystem::path& folder,
                    const HeadPlanShape& shape, std::string_view base_model,
                    std::string_view rounding_rule) {
  io::HeadPlanFiles files;
  files.plan = plan;
  files.shape = shape;
  files.base_model = base_model;
  files.rounding_rule = rounding_rule;
  io::write_head_plan_folder(files, folder);
}

}  // namespace lychee
