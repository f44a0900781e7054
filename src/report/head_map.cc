#include "report/head_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "report/page.h"

namespace lychee::report {
namespace {

constexpr int kCell = 18;
constexpr int kLeft = 56;
constexpr int kTop = 70;
// Dark blue on light grey: apart by lightness alone.
constexpr const char* kRetrievalColor = "#0072b2";
constexpr const char* kSparseColor = "#e4e4e4";

std::string cell(int x, int y, const char* color, const std::string& title) {
  return fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"><title>{}</title></rect>\n",
      x, y, kCell - 2, kCell - 2, color, title);
}

std::string legend(int y) {
  return cell(kLeft, y, kRetrievalColor, "retrieval") +
         fmt::format("<text x=\"{}\" y=\"{}\">retrieval: reads everything</text>\n",
                     kLeft + kCell + 4, y + 13) +
         cell(kLeft + 210, y, kSparseColor, "sparse") +
         fmt::format("<text x=\"{}\" y=\"{}\">sparse: reads its token set</text>\n",
                     kLeft + 214 + kCell, y + 13);
}

}  // namespace

std::string svg(const HeadMap& map) {
  const auto layers = static_cast<int>(map.retrieval.size());
  const int heads = layers > 0 ? static_cast<int>(map.retrieval.front().size()) : 0;
  const int width = std::max(kLeft + heads * kCell + 20, 460);
  const int height = kTop + layers * kCell + 20;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n<text x=\"{2}\" y=\"18\" "
      "font-size=\"14\">{3}</text>\n",
      width, height, kLeft, escape_html(map.title));
  out += legend(30);
  for (int head = 0; head < heads; ++head) {
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                       kLeft + head * kCell + kCell / 2, kTop - 6, head);
  }
  for (int layer = 0; layer < layers; ++layer) {
    const int y = kTop + layer * kCell;
    out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 6, y + 13,
                       layer);
    for (int head = 0; head < heads; ++head) {
      const bool retrieval = map.retrieval[static_cast<size_t>(layer)][static_cast<size_t>(head)];
      out += cell(
          kLeft + head * kCell, y, retrieval ? kRetrievalColor : kSparseColor,
          fmt::format("layer {}, KV head {}: {}", layer, head, retrieval ? "retrieval" : "sparse"));
    }
  }
  return out + "</svg>\n";
}

}  // namespace lychee::report
