#include "training/training_data.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "base/check.h"
#include "samples/needle.h"
#include "samples/phrase.h"
#include "samples/random.h"

namespace lychee::training {
namespace {

constexpr std::array<std::pair<DataTask, std::string_view>, 4> kTaskNames = {
    {{DataTask::kPasskey, "passkey"},
     {DataTask::kNeedle, "needle"},
     {DataTask::kText, "text"},
     {DataTask::kQa, "qa"}}};

DataTask parse_task(const std::string& name) {
  for (const auto& [task, known] : kTaskNames) {
    if (known == name) {
      return task;
    }
  }
  fail(ErrorCode::kInvalidArgument, "no training data '", name,
       "'; there are passkey, needle, text and qa");
}

double parse_weight(const std::string& text) {
  double weight = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
  require(error == std::errc{} && end == text.data() + text.size() && weight > 0 && weight < 1e9,
          ErrorCode::kInvalidArgument, "'", text,
          "' is no weight of training data: give a number "
          "above 0");
  return weight;
}

// Which numbers of a sample's stream mean what.
enum class Stream : uint64_t { kTask = 1, kLength = 2, kSample = 3 };

uint64_t stream_seed(uint64_t seed, int64_t index, Stream stream) {
  samples::Random random(seed);
  samples::Random numbered(random.next() + static_cast<uint64_t>(index) * 8 +
                           static_cast<uint64_t>(stream));
  return numbered.next();
}

void append(TrainingSample& sample, const std::vector<int32_t>& ids, bool answer) {
  for (const int32_t id : ids) {
    if (!sample.target.empty()) {
      sample.answers.back() = answer ? 1 : 0;
    }
    sample.target.push_back(id);
    sample.answers.push_back(0);
  }
}

// The last token is predicted but not fed.
void drop_last(TrainingSample& sample) {
  sample.target.pop_back();
  sample.answers.pop_back();
}

bool asks_about_books(DataTask task) {
  return task == DataTask::kPasskey || task == DataTask::kText;
}

}  // namespace

std::vector<std::pair<DataTask, double>> parse_mixture(const std::string& text) {
  std::vector<std::pair<DataTask, double>> mixture;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) {
    const size_t colon = part.find(':');
    const DataTask task = parse_task(part.substr(0, colon));
    mixture.emplace_back(task,
                         colon == std::string::npos ? 1.0 : parse_weight(part.substr(colon + 1)));
  }
  require(!mixture.empty(), ErrorCode::kInvalidArgument, "the mixture of training data is empty");
  return mixture;
}

std::string mixture_text(const std::vector<std::pair<DataTask, double>>& mixture) {
  std::ostringstream text;
  for (const auto& [task, weight] : mixture) {
    text << (text.tellp() > 0 ? "," : "") << kTaskNames.at(static_cast<size_t>(task)).second << ":"
         << weight;
  }
  return text.str();
}

TrainingData::TrainingData(DataOptions options, samples::Encoder encode,
                           std::vector<samples::Book> books, std::vector<QaItem> qa)
    : options_(std::move(options)),
      encode_(std::move(encode)),
      books_(std::move(books)),
      qa_(std::move(qa)) {
  require(options_.context_min >= 1 && options_.context_min <= options_.context_max,
          ErrorCode::kInvalidArgument, "contexts of ", options_.context_min, " to ",
          options_.context_max, " tokens: the least must be at least 1 and at most the most");
  check_texts();
  keep_fitting_qa();
  constexpr int64_t kTried = 16;
  for (const auto& [task, weight] : options_.mixture) {
    for (int64_t i = 0; i < (task == DataTask::kText ? 1 : kTried); ++i) {
      max_target_ = std::max(max_target_, shortest_target(task, i));
    }
  }
  // An eighth more: another sample's words may take more tokens.
  max_target_ += max_target_ / 8 + 8;
}

int64_t TrainingData::shortest_target(DataTask task, int64_t index) const {
  try {
    return std::ssize(
        make_task(task, options_.context_min, stream_seed(options_.seed, index, Stream::kSample))
            .target);
  } catch (const Error& error) {
    fail(error.code(), "contexts of ", options_.context_min,
         " tokens are too short: ", error.what(), ", so raise --context-min");
  }
}

void TrainingData::check_texts() const {
  for (const auto& [task, weight] : options_.mixture) {
    require(!asks_about_books(task) || !books_.empty(), ErrorCode::kInvalidArgument,
            "training data '", kTaskNames.at(static_cast<size_t>(task)).second,
            "' needs a text: give --text-file");
    require(task != DataTask::kQa || !qa_.empty(), ErrorCode::kInvalidArgument,
            "training data 'qa' needs --qa-file");
  }
  for (const samples::Book& book : books_) {
    // A word is at least one token, so that a book of this many words needs no repetition; most
    // words are one.
    const int64_t needed = options_.context_max + options_.text_rows;
    const auto tokens =
        static_cast<int64_t>(encode_(book.excerpt(0, std::min(book.num_words(), needed))).size());
    require(tokens >= needed, ErrorCode::kInvalidArgument, "a text of ", tokens,
            " tokens is too short for contexts of ", options_.context_max, " tokens and ",
            options_.text_rows, " after them: give a longer --text-file, or a lower --context-max");
  }
}

void TrainingData::keep_fitting_qa() {
  const size_t given = qa_.size();
  std::erase_if(qa_, [&](const QaItem& item) {
    return static_cast<int64_t>(encode_(item.context).size()) > options_.context_max;
  });
  require(given == 0 || !qa_.empty(), ErrorCode::kInvalidArgument, "none of the ", given,
          " contexts of the qa file has at most ", options_.context_max, " tokens");
}

TrainingSample TrainingData::from_sample(DataTask task, const samples::Sample& sample) const {
  TrainingSample result;
  result.task = task;
  result.context = sample.context_ids;
  for (const samples::Question& question : sample.questions) {
    append(result, question.token_ids, false);
    append(result, question.answer_ids, true);
  }
  drop_last(result);
  return result;
}

TrainingSample TrainingData::make_text(int64_t length, uint64_t seed) const {
  samples::Random random(seed);
  const samples::Book& book = random.pick(books_);
  const int64_t tokens = length + options_.text_rows + 1;
  std::vector<int32_t> ids =
      encode_(book.excerpt(book.sentence_start(random.index(book.num_words())), tokens));
  ids.resize(static_cast<size_t>(tokens));
  TrainingSample result;
  result.task = DataTask::kText;
  result.context.assign(ids.begin(), ids.begin() + length);
  append(result, {ids.begin() + length, ids.end()}, true);
  drop_last(result);
  return result;
}

TrainingSample TrainingData::make_qa(uint64_t seed) const {
  samples::Random random(seed);
  const QaItem& item = random.pick(qa_);
  samples::Sample sample;
  sample.context = item.context;
  sample.questions.push_back({.text = "\n\n" + item.question + "\n", .answer = item.answer});
  samples::encode_sample(encode_, sample);
  return from_sample(DataTask::kQa, sample);
}

TrainingSample TrainingData::make_task(DataTask task, int64_t length, uint64_t seed) const {
  samples::Random random(seed);
  switch (task) {
    case DataTask::kText:
      return make_text(length, random.next());
    case DataTask::kQa:
      return make_qa(random.next());
    case DataTask::kNeedle: {
      const samples::Book* book = books_.empty() ? nullptr : &random.pick(books_);
      const double depth = 0.05 + 0.9 * random.share();
      return from_sample(task, samples::make_needle(encode_, book, length, depth, random.next()));
    }
    case DataTask::kPasskey:
      break;
  }
  const samples::PhraseOptions phrases{.phrases = options_.phrases, .words = options_.phrase_words};
  return from_sample(
      task, samples::make_phrase(encode_, random.pick(books_), length, random.next(), phrases));
}

TrainingSample TrainingData::make(int64_t index) const {
  samples::Random pick(stream_seed(options_.seed, index, Stream::kTask));
  double total = 0;
  for (const auto& [task, weight] : options_.mixture) {
    total += weight;
  }
  double rest = pick.share() * total;
  size_t chosen = 0;
  while (chosen + 1 < options_.mixture.size() && rest >= options_.mixture[chosen].second) {
    rest -= options_.mixture[chosen++].second;
  }
  return make(options_.mixture[chosen].first, index);
}

TrainingSample TrainingData::make(DataTask task, int64_t index) const {
  samples::Random draw(stream_seed(options_.seed, index, Stream::kLength));
  const int64_t length =
      options_.context_min + draw.index(options_.context_max - options_.context_min + 1);
  TrainingSample sample =
      make_task(task, length, stream_seed(options_.seed, index, Stream::kSample));
  // What the last of a long target asks is dropped rather than the run.
  if (static_cast<int64_t>(sample.target.size()) > max_target_ && max_target_ > 0) {
    sample.target.resize(static_cast<size_t>(max_target_));
    sample.answers.resize(static_cast<size_t>(max_target_));
  }
  return sample;
}

}  // namespace lychee::training
