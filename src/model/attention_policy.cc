#include "model/attention_policy.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace lychee {

namespace {

constexpr std::array<std::string_view, 6> kPolicyNames = {"dense",     "hybrid", "layer-shared",
                                                          "streaming", "duo",    "page-bound"};

}  // namespace

std::string_view policy_name(Policy policy) {
  return kPolicyNames[static_cast<size_t>(policy)];
}

std::optional<Policy> parse_policy(std::string_view name) {
  const auto* it = std::find(kPolicyNames.begin(), kPolicyNames.end(), name);
  return it == kPolicyNames.end() ? std::nullopt
                                  : std::optional(static_cast<Policy>(it - kPolicyNames.begin()));
}

namespace model {

namespace {

void check_plan(const GenerationOptions& options, int num_layers, int num_kv_heads) {
  const HeadPlan* plan = options.head_plan.get();
  if (!policy_needs_plan(options.policy)) {
    require(plan == nullptr, ErrorCode::kInvalidArgument, "policy ", policy_name(options.policy),
            " takes no head plan; leave --heads out, or use --policy hybrid or duo");
    return;
  }
  require(plan != nullptr, ErrorCode::kInvalidArgument, "policy ", policy_name(options.policy),
          " needs a head plan; give one with --heads (a folder, uniform:N or random:N:SEED)");
  require(plan->num_layers() == num_layers && plan->num_kv_heads() == num_kv_heads,
          ErrorCode::kInvalidArgument, "head plan ", plan->name, " is for ", plan->num_layers(),
          " layers of ", plan->num_kv_heads(), " KV heads; the model has ", num_layers,
          " layers of ", num_kv_heads);
  for (int head = 0; head < num_kv_heads; ++head) {
    require(plan->role(0, head) == HeadRole::kRetrieval, ErrorCode::kInvalidArgument, "head plan ",
            plan->name, ": KV head ", head, " of layer 0 is sparse; layer 0 must be all retrieval");
  }
}

std::vector<int> selecting_layers(const GenerationOptions& options, int num_layers) {
  std::vector<int> layers = options.selecting_layers;
  if (layers.empty()) {
    layers = {2, num_layers / 2};
  } else {
    for (const int layer : layers) {
      require(layer >= 0 && layer < num_layers, ErrorCode::kInvalidArgument, "selecting layer ",
              layer, " is outside the model's layers 0 to ", num_layers - 1);
    }
  }
  return layers;
}

void check_options(const GenerationOptions& options, int num_layers, int num_kv_heads) {
  check_plan(options, num_layers, num_kv_heads);
  require(options.dense_below >= 0, ErrorCode::kInvalidArgument, "dense_below ",
          options.dense_below, " must not be negative");
  require(options.cache_correction >= 0, ErrorCode::kInvalidArgument, "cache correction period ",
          options.cache_correction, " must not be negative");
  require(options.selecting_layers.empty() || options.policy == Policy::kLayerShared,
          ErrorCode::kInvalidArgument, "selecting layers belong to policy layer-shared, not ",
          policy_name(options.policy));
  if (options.policy != Policy::kDense) {
    validate(options.selection);
  }
}

HeadAction layer_shared_action(const std::vector<int>& selecting, int layer) {
  if (std::find(selecting.begin(), selecting.end(), layer) != selecting.end()) {
    return HeadAction::kSelect;
  }
  const bool has_set = std::any_of(selecting.begin(), selecting.end(),
                                   [&](int selecting_layer) { return selecting_layer < layer; });
  return layer < 2 || !has_set ? HeadAction::kDense : HeadAction::kReadSet;
}

// selecting: layers that select for those above, kLayerShared only.
HeadAction action_of(const GenerationOptions& options, const std::vector<int>& selecting, int layer,
                     int head) {
  const auto sparse = [&](int in_layer) {
    return in_layer < options.head_plan->num_layers() &&
           options.head_plan->role(in_layer, head) == HeadRole::kSparse;
  };
  switch (options.policy) {
    case Policy::kDense:
      break;
    case Policy::kHybrid:
      // A set that the next layer's retrieval head replaces is never read: not selected at all.
      return sparse(layer)       ? HeadAction::kReadSet
             : sparse(layer + 1) ? HeadAction::kSelect
                                 : HeadAction::kDense;
    case Policy::kLayerShared:
      return layer_shared_action(selecting, layer);
    case Policy::kStreaming:
      return HeadAction::kReadSet;
    case Policy::kDuo:
      return sparse(layer) ? HeadAction::kReadSet : HeadAction::kDense;
    case Policy::kPageBound:
      return HeadAction::kPageBound;
  }
  return HeadAction::kDense;
}

}  // namespace

AttentionPolicy::AttentionPolicy(const GenerationOptions& options, int num_layers, int num_kv_heads)
    : policy_(options.policy),
      selection_(options.selection),
      dense_below_(options.dense_below),
      num_kv_heads_(num_kv_heads) {
  check_options(options, num_layers, num_kv_heads);
  const std::vector<int> selecting =
      policy_ == Policy::kLayerShared ? selecting_layers(options, num_layers) : std::vector<int>{};
  actions_.reserve(static_cast<size_t>(num_layers) * static_cast<size_t>(num_kv_heads));
  for (int layer = 0; layer < num_layers; ++layer) {
    for (int head = 0; head < num_kv_heads; ++head) {
      actions_.push_back(action_of(options, selecting, layer, head));
    }
  }
}

bool AttentionPolicy::runs_dense(int64_t kv_len) const {
  return policy_ == Policy::kDense || automatic_dense(kv_len) ||
         kv_len <= effective_budget(selection_, kv_len);
}

}  // namespace model
}  // namespace lychee
