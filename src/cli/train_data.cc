#include "cli/train_data.h"

#include <utility>

#include "cli/output.h"
#include "io/qa_file.h"

namespace lychee::cli {

training::TrainingData training_data(const TrainOptions& options,
                                     const text::Tokenizer& tokenizer) {
  training::DataOptions data;
  data.mixture = training::parse_mixture(options.data);
  data.context_min = options.context_min;
  data.context_max = options.context_max;
  data.text_rows = options.text_rows;
  data.phrases = options.phrases;
  data.phrase_words = options.phrase_words;
  data.seed = options.common.seed;
  std::vector<samples::Book> books;
  books.reserve(options.text_files.size());
  for (const std::string& path : options.text_files) {
    books.emplace_back(read_text_file(path));
  }
  std::vector<training::QaItem> items;
  if (!options.qa_file.empty()) {
    for (io::QaRecord& record : io::read_qa_file(options.qa_file)) {
      items.push_back(
          {std::move(record.context), std::move(record.question), std::move(record.answer)});
    }
  }
  const auto encode = [&tokenizer](std::string_view text) { return tokenizer.encode(text, true); };
  return {data, encode, std::move(books), std::move(items)};
}

}  // namespace lychee::cli
