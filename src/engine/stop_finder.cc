#include "engine/stop_finder.h"

#include <algorithm>
#include <utility>

namespace lychee::engine {

StopFinder::StopFinder(const std::vector<std::string>& stops) {
  std::copy_if(stops.begin(), stops.end(), std::back_inserter(stops_),
               [](const std::string& stop) { return !stop.empty(); });
}

StopFinder::Output StopFinder::push(std::string_view piece) {
  pending_ += piece;
  size_t found = std::string::npos;
  for (const std::string& stop : stops_) {
    found = std::min(found, pending_.find(stop));
  }
  if (found != std::string::npos) {
    return {std::exchange(pending_, {}).substr(0, found), true};
  }
  // The longest tail that begins some stop string.
  size_t held = 0;
  for (const std::string& stop : stops_) {
    for (size_t size = std::min(stop.size() - 1, pending_.size()); size > held; --size) {
      if (std::string_view(pending_).ends_with(std::string_view(stop).substr(0, size))) {
        held = size;
      }
    }
  }
  std::string safe = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, safe.size());
  return {std::move(safe), false};
}

std::string StopFinder::finish() {
  return std::exchange(pending_, {});
}

}  // namespace lychee::engine
