#include "eval/math_task.h"

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

#include "base/check.h"
#include "eval/math_grader.h"

namespace lychee::eval {
namespace {

struct Problem {
  std::string question;
  std::string answer;
  double tolerance = 0;
};

class MathTask : public Task {
 public:
  MathTask(bool integer, std::vector<Problem> problems, const TaskInputs& inputs)
      : integer_(integer),
        problems_(std::move(problems)),
        attempts_(inputs.attempts),
        encode_(inputs.encode),
        wrap_(inputs.wrap) {}

  [[nodiscard]] std::string name() const override { return integer_ ? "aime" : "olympiadbench"; }
  [[nodiscard]] int num_samples(int asked) const override {
    const auto all = static_cast<int>(problems_.size());
    return asked < 0 ? all : std::min(asked, all);
  }

  [[nodiscard]] Prompt make(const SampleId& id) const override {
    const Problem& problem = problems_[static_cast<size_t>(id.sample)];
    Prompt prompt;
    prompt.context_ids = encode_(
        wrap_("Solve the problem step by step and put the final answer in \\boxed{}" +
                  std::string(integer_ ? ", a whole number" : "") + ".\n\n" + problem.question,
              "\n"));
    const int64_t room = id.length - std::ssize(prompt.context_ids);
    require(room > 0, ErrorCode::kInvalidArgument, name(), ": ", id.length,
            " tokens cannot hold problem ", id.sample + 1);
    for (int attempt = 0; attempt < attempts_; ++attempt) {
      SampleId seeded = id;
      seeded.seed += static_cast<uint64_t>(attempt);
      prompt.queries.push_back({.token_ids = {},
                                .references = {problem.answer, std::to_string(problem.tolerance)},
                                .max_tokens = room,
                                .seed = sample_seed(name(), seeded)});
    }
    return prompt;
  }

  double score(std::string_view text, const Query& query, Metrics&) const override {
    const std::string answer = extract_answer(text, integer_);
    const double tolerance = std::strtod(query.references[1].c_str(), nullptr);
    return !answer.empty() && same_answer(query.references[0], answer, tolerance) ? 1 : 0;
  }

 private:
  bool integer_;
  std::vector<Problem> problems_;
  int attempts_;
  samples::Encoder encode_;
  std::function<std::string(std::string_view, std::string_view)> wrap_;
};

// The first of `names` that `line` has.
const nlohmann::json& field(const nlohmann::json& line, std::initializer_list<const char*> names) {
  std::string all;
  for (const char* name : names) {
    if (line.contains(name)) {
      return line.at(name);
    }
    all.append(all.empty() ? "" : ", ").append(name);
  }
  fail(ErrorCode::kInvalidArgument, "has no field ", all);
}

Problem parse_olympiad(const nlohmann::json& line) {
  Problem problem{line.at("question").get<std::string>(), "", 0};
  for (const auto& answer : line.at("final_answer")) {
    problem.answer += (problem.answer.empty() ? "" : ", ") + answer.get<std::string>();
  }
  require(!problem.answer.empty(), ErrorCode::kInvalidArgument, "no final_answer");
  const auto error = line.find("error");
  if (error != line.end() && error->is_string()) {
    problem.tolerance = std::strtod(error->get<std::string>().c_str(), nullptr);
  } else if (error != line.end() && error->is_number()) {
    error->get_to(problem.tolerance);
  }
  return problem;
}

Problem parse_aime(const nlohmann::json& line) {
  Problem problem{field(line, {"problem", "Problem", "question"}).get<std::string>(), "", 0};
  const nlohmann::json& answer = field(line, {"answer", "Answer", "final_answer"});
  problem.answer = answer.is_number_integer() ? std::to_string(answer.get<int64_t>())
                                              : answer.get<std::string>();
  require(!problem.answer.empty() &&
              problem.answer.find_first_not_of("0123456789") == std::string::npos,
          ErrorCode::kInvalidArgument, "the answer '", problem.answer, "' is no whole number");
  return problem;
}

}  // namespace

TaskList make_math_tasks(const TaskInputs& inputs) {
  require(!inputs.data.empty(), ErrorCode::kInvalidArgument,
          "math needs --data, files of problems (JSONL)");
  require(inputs.attempts >= 1, ErrorCode::kInvalidArgument, "math: ", inputs.attempts,
          " attempts; at least 1");
  std::vector<Problem> aime;
  std::vector<Problem> olympiad;
  for (const DataFile& file : inputs.data) {
    for_each_line(file, *inputs.bad, [&](const nlohmann::json& line) {
      if (line.contains("final_answer")) {
        olympiad.push_back(parse_olympiad(line));
      } else {
        aime.push_back(parse_aime(line));
      }
    });
  }
  require(!aime.empty() || !olympiad.empty(), ErrorCode::kInvalidArgument,
          "math: no line of --data can be used");
  TaskList tasks;
  if (!aime.empty()) {
    tasks.push_back(std::make_unique<MathTask>(true, std::move(aime), inputs));
  }
  if (!olympiad.empty()) {
    tasks.push_back(std::make_unique<MathTask>(false, std::move(olympiad), inputs));
  }
  return tasks;
}

}  // namespace lychee::eval
