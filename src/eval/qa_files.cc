#include <nlohmann/json.hpp>

#include "base/check.h"
#include "eval/ruler_tasks.h"

namespace lychee::eval {
namespace {

using Json = nlohmann::json;

// Calls `use` with the parsed text; what it lacks becomes an error.
template <typename Use>
void parse_with(const std::string& name, const char* kind, const std::string& text, Use&& use) {
  try {
    use(Json::parse(text));
  } catch (const Json::exception& error) {
    fail(ErrorCode::kInvalidArgument, name, " is no ", kind, " file: ", error.what());
  }
}

void add_squad_paragraph(const Json& paragraph, samples::QaSet& set) {
  const auto context = paragraph.at("context").get<std::string>();
  set.documents.push_back(context);
  for (const Json& qa : paragraph.at("qas")) {
    samples::QaItem item{qa.at("question").get<std::string>(), {}, {context}};
    for (const Json& answer : qa.at("answers")) {
      item.answers.push_back(answer.at("text").get<std::string>());
    }
    if (!item.answers.empty() && !qa.value("is_impossible", false)) {
      set.items.push_back(std::move(item));
    }
  }
}

void add_hotpotqa_item(const Json& entry, samples::QaSet& set) {
  samples::QaItem item{
      entry.at("question").get<std::string>(), {entry.at("answer").get<std::string>()}, {}};
  for (const Json& article : entry.at("context")) {
    const auto title = article.at(0).get<std::string>();
    std::string document = title + ".";
    for (const Json& sentence : article.at(1)) {
      document += " " + sentence.get<std::string>();
    }
    for (const Json& fact : entry.at("supporting_facts")) {
      if (fact.at(0) == title) {
        item.documents.push_back(document);
        break;
      }
    }
    set.documents.push_back(document);
  }
  set.items.push_back(std::move(item));
}

void check(const std::string& name, const samples::QaSet& set) {
  require(!set.items.empty(), ErrorCode::kInvalidArgument, name, " has no questions with answers");
}

}  // namespace

samples::QaSet parse_squad(const std::string& name, const std::string& text) {
  samples::QaSet set;
  parse_with(name, "SQuAD", text, [&](const Json& json) {
    for (const Json& article : json.at("data")) {
      for (const Json& paragraph : article.at("paragraphs")) {
        add_squad_paragraph(paragraph, set);
      }
    }
  });
  check(name, set);
  return set;
}

samples::QaSet parse_hotpotqa(const std::string& name, const std::string& text) {
  samples::QaSet set;
  parse_with(name, "HotpotQA", text, [&](const Json& json) {
    for (const Json& entry : json) {
      add_hotpotqa_item(entry, set);
    }
  });
  check(name, set);
  return set;
}

}  // namespace lychee::eval
