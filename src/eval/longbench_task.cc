#include "eval/longbench_task.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/check.h"
#include "eval/longbench_metrics.h"
#include "text/word_segmenter.h"

namespace lychee::eval {
namespace {

struct Item {
  std::string context;
  std::string input;
  std::vector<std::string> answers;
  std::vector<std::string> classes;
};

// What a metric may need besides the two texts.
struct Means {
  const std::vector<std::string>& classes;
  const text::WordSegmenter* segmenter = nullptr;  // never null for Chinese words
};

using Metric = double (*)(std::string_view text, std::string_view reference, const Means& means);

struct Dataset {
  std::string_view name;
  Metric metric;
  int64_t generated_tokens;
  bool first_line;          // alone is scored
  bool chat;                // the chat template is used
  std::string_view prompt;  // with {context} and {input}
  bool one_line = false;    // a newline ends the answer, but is not its first token
};

double f1(std::string_view text, std::string_view reference, const Means&) {
  return qa_f1(text, reference);
}
double f1_chinese(std::string_view text, std::string_view reference, const Means& means) {
  return qa_f1_chinese(text, reference, *means.segmenter);
}
double rouge(std::string_view text, std::string_view reference, const Means&) {
  return rouge_l(text, reference);
}
double rouge_chinese(std::string_view text, std::string_view reference, const Means& means) {
  return rouge_l_chinese(text, reference, *means.segmenter);
}
double class_named(std::string_view text, std::string_view reference, const Means& means) {
  return classification(text, reference, means.classes);
}
double paragraph(std::string_view text, std::string_view reference, const Means&) {
  return retrieval(text, reference, "Paragraph ");
}
double paragraph_chinese(std::string_view text, std::string_view reference, const Means&) {
  return retrieval(text, reference, "段落");
}
double number(std::string_view text, std::string_view reference, const Means&) {
  return count_match(text, reference);
}
double code(std::string_view text, std::string_view reference, const Means&) {
  return code_similarity(text, reference);
}

constexpr std::string_view kQuestion =
    "Read the passages and answer the question. Give the answer alone, as short as it can be.\n\n"
    "{context}\n\nQuestion: {input}\nShort answer:";
constexpr std::string_view kSummary =
    "Read the document and sum it up in one page.\n\n{context}\n\nSummary:";
constexpr std::string_view kMeeting =
    "Read the minutes of a meeting and answer the request about them in a few sentences.\n\n"
    "{context}\n\nRequest: {input}\nAnswer:";
constexpr std::string_view kExamples =
    "Continue the examples: do for the last one what the others show.\n\n{context}\n{input}";
constexpr std::string_view kCode = "Write the next line of the code.\n{context}{input}";

constexpr std::array kDatasets{
    Dataset{"narrativeqa", f1, 128, false, true, kQuestion},
    Dataset{"qasper", f1, 128, false, true, kQuestion},
    Dataset{"multifieldqa_en", f1, 64, false, true, kQuestion},
    Dataset{"multifieldqa_zh", f1_chinese, 64, false, true,
            "请读下面的文字，用中文回答问题，只写答案，越短越好。\n\n{context}\n\n问题：{input}"
            "\n答案："},
    Dataset{"hotpotqa", f1, 32, false, true, kQuestion},
    Dataset{"2wikimqa", f1, 32, false, true, kQuestion},
    Dataset{"musique", f1, 32, false, true, kQuestion},
    Dataset{"triviaqa", f1, 32, true, false, kExamples},
    Dataset{"dureader", rouge_chinese, 128, false, true,
            "请根据下面的文章回答问题。\n\n{context}\n\n问题：{input}\n答案："},
    Dataset{"gov_report", rouge, 512, false, true, kSummary},
    Dataset{"qmsum", rouge, 512, false, true, kMeeting},
    Dataset{"multi_news", rouge, 512, false, true, kSummary},
    Dataset{"samsum", rouge, 128, true, false, kExamples, true},
    Dataset{"vcsum", rouge_chinese, 512, false, true,
            "请读下面的会议记录，用一段话概括会议的内容。\n\n{context}\n\n概括："},
    Dataset{"trec", class_named, 64, true, false, kExamples},
    Dataset{"lsht", class_named, 64, true, false, kExamples},
    Dataset{"passage_retrieval_en", paragraph, 32, false, true,
            "One of these paragraphs is what the summary was written from.\n\n{context}\n\n"
            "Summary: {input}\n\nName the paragraph, as in \"Paragraph 1\".\nAnswer:"},
    Dataset{"passage_retrieval_zh", paragraph_chinese, 32, false, true,
            "摘要写的是下面哪一个段落？\n\n{context}\n\n摘要：{input}"
            "\n\n请写出段落的编号，例如“段落1”。\n答案："},
    Dataset{"passage_count", number, 32, false, true,
            "Some of these paragraphs may be copies of others. How many different ones are there?"
            "\n\n{context}\n\nGive the number alone.\nNumber:"},
    Dataset{"lcc", code, 64, false, false, kCode},
    Dataset{"repobench-p", code, 64, false, false, kCode},
};

std::string replace(std::string text, std::string_view mark, const std::string& value) {
  const size_t at = text.find(mark);
  return at == std::string::npos ? text : text.replace(at, mark.size(), value);
}

// The last token of a newline; none where the tokenizer drops it.
std::vector<int32_t> newline_ids(const samples::Encoder& encode) {
  const std::vector<int32_t> ids = encode("\n");
  const bool is_dropped = ids.size() <= encode("").size();  // the tokenizer's leading tokens alone
  return is_dropped ? std::vector<int32_t>() : std::vector<int32_t>{ids.back()};
}

class LongbenchTask : public Task {
 public:
  // `segmenter` may be null where no Chinese words are counted.
  LongbenchTask(const Dataset& dataset, std::vector<Item> items,
                std::shared_ptr<const text::WordSegmenter> segmenter, const TaskInputs& inputs)
      : dataset_(dataset),
        items_(std::move(items)),
        segmenter_(std::move(segmenter)),
        encode_(inputs.encode),
        decode_(inputs.decode),
        wrap_(inputs.wrap),
        end_ids_(dataset.one_line ? newline_ids(inputs.encode) : std::vector<int32_t>()) {}

  [[nodiscard]] std::string name() const override { return std::string(dataset_.name); }
  [[nodiscard]] int num_samples(int asked) const override {
    const auto all = static_cast<int>(items_.size());
    return asked < 0 ? all : std::min(asked, all);
  }

  [[nodiscard]] Prompt make(const SampleId& id) const override {
    const Item& item = items_[static_cast<size_t>(id.sample)];
    // {input} first: a context may hold the mark.
    const std::string text = replace(replace(std::string(dataset_.prompt), "{input}", item.input),
                                     "{context}", item.context);
    const int64_t room = id.length - dataset_.generated_tokens;
    std::vector<int32_t> ids = encode_(format(text));
    // What the template adds, and what joins differently when the halves meet, is cut once more.
    const std::vector<int32_t> whole = encode_(text);
    for (int64_t keep = room; std::ssize(ids) > room; keep -= std::ssize(ids) - room) {
      require(keep > 1, ErrorCode::kInvalidArgument, name(), ": ", id.length,
              " tokens cannot hold the prompt");
      ids = encode_(format(cut_middle(whole, keep)));
    }
    Prompt prompt;
    prompt.context_ids = std::move(ids);
    prompt.queries.push_back({.token_ids = {},
                              .references = item.answers,
                              .max_tokens = dataset_.generated_tokens,
                              .end_ids = end_ids_,
                              .min_tokens = dataset_.one_line ? 1 : 0,
                              .classes = item.classes});
    return prompt;
  }

  double score(std::string_view text, const Query& query, Metrics&) const override {
    if (dataset_.first_line) {
      text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
      text = text.substr(0, text.find('\n'));
    }
    double best = 0;
    for (const std::string& reference : query.references) {
      best = std::max(best, dataset_.metric(text, reference, {query.classes, segmenter_.get()}));
    }
    return best;
  }

 private:
  [[nodiscard]] std::string format(const std::string& text) const {
    return dataset_.chat ? wrap_(text, "") : text;
  }
  // The first and the last half of `keep` tokens.
  [[nodiscard]] std::string cut_middle(const std::vector<int32_t>& ids, int64_t keep) const {
    const auto half = std::min(static_cast<size_t>(keep / 2), ids.size() / 2);
    const std::span<const int32_t> all(ids);
    return decode_(all.first(half)) + decode_(all.last(half));
  }

  const Dataset& dataset_;
  std::vector<Item> items_;
  std::shared_ptr<const text::WordSegmenter> segmenter_;
  samples::Encoder encode_;
  std::function<std::string(std::span<const int32_t>)> decode_;
  std::function<std::string(std::string_view, std::string_view)> wrap_;
  std::vector<int32_t> end_ids_;
};

bool counts_chinese_words(const Dataset& dataset) {
  return dataset.metric == f1_chinese || dataset.metric == rouge_chinese;
}

const Dataset& find_dataset(const std::string& name) {
  // LongBench-E has its own names for the same tasks.
  const std::string plain = name.ends_with("_e") ? name.substr(0, name.size() - 2) : name;
  const auto* found = std::find_if(kDatasets.begin(), kDatasets.end(),
                                   [&](const Dataset& one) { return one.name == plain; });
  require(found != kDatasets.end(), ErrorCode::kInvalidArgument, "'", name,
          "' is no dataset of LongBench");
  return *found;
}

Item parse_item(const nlohmann::json& line, const Dataset& dataset) {
  Item item{line.at("context").get<std::string>(),
            line.at("input").get<std::string>(),
            line.at("answers").get<std::vector<std::string>>(),
            {}};
  require(!item.answers.empty(), ErrorCode::kInvalidArgument, "no answers");
  if (dataset.metric == class_named) {
    line.at("all_classes").get_to(item.classes);
  }
  if (!counts_chinese_words(dataset)) {  // which refuse nothing
    for (const std::string& answer : item.answers) {
      static_cast<void>(
          dataset.metric("", answer, {item.classes}));  // refuses what it cannot score
    }
  }
  return item;
}

}  // namespace

TaskList make_longbench_tasks(const TaskInputs& inputs) {
  require(!inputs.data.empty(), ErrorCode::kInvalidArgument,
          "longbench needs --data, files of LongBench (JSONL)");
  std::map<const Dataset*, std::vector<Item>> items;
  for (const DataFile& file : inputs.data) {
    for_each_line(file, *inputs.bad, [&](const nlohmann::json& line) {
      const Dataset& dataset = find_dataset(line.at("dataset").get<std::string>());
      items[&dataset].push_back(parse_item(line, dataset));
    });
  }
  TaskList tasks;
  std::shared_ptr<const text::WordSegmenter> segmenter;
  for (auto& [dataset, list] : items) {
    if (counts_chinese_words(*dataset) && !segmenter) {
      segmenter = std::make_shared<text::WordSegmenter>(inputs.words);
    }
    tasks.push_back(std::make_unique<LongbenchTask>(*dataset, std::move(list), segmenter, inputs));
  }
  return tasks;
}

}  // namespace lychee::eval
