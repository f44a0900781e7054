#include "bench/layer_mixture.h"

#include <algorithm>

#include "model/attention_policy.h"

namespace lychee::bench {

std::vector<LayerMixture> layer_mixtures(const GenerationOptions& options, int num_layers,
                                         int num_kv_heads) {
  const model::AttentionPolicy policy(options, num_layers, num_kv_heads);
  std::vector<LayerMixture> mixtures;
  for (int layer = 0; layer < num_layers; ++layer) {
    LayerMixture found{.num_layers = 1};
    for (int head = 0; head < num_kv_heads; ++head) {
      const model::HeadAction action = policy.action(layer, head);
      ++(action == model::HeadAction::kDense    ? found.num_dense
         : action == model::HeadAction::kSelect ? found.num_select
                                                : found.num_read);
    }
    const auto known = std::ranges::find_if(mixtures, [&](const LayerMixture& other) {
      return other.num_dense == found.num_dense && other.num_select == found.num_select;
    });
    if (known == mixtures.end()) {
      mixtures.push_back(found);
    } else {
      ++known->num_layers;
    }
  }
  return mixtures;
}

}  // namespace lychee::bench
