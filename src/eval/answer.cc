#include "eval/answer.h"

#include <algorithm>

#include "eval/clock.h"
#include "eval/logits.h"

namespace lychee::eval {
namespace {

// Draws the next token of an answer that is known; true when it has more.
bool draw_forced(Engine& engine, const Query& query, Answer& answer) {
  answer.token_ids.push_back(engine.sample(answer.sequence));
  return answer.token_ids.size() < query.forced.size();
}

// Draws the next token; true when the answer goes on with it.
bool draw(Engine& engine, const Task& task, const Query& query, Answer& answer) {
  const int32_t id = engine.sample(answer.sequence);
  if (engine.is_end_token(answer.sequence, id)) {
    return false;
  }
  answer.token_ids.push_back(id);
  if (std::ssize(answer.token_ids) >= query.max_tokens ||
      answer.sequence.length() >= engine.model().context_length) {
    return false;
  }
  if (query.stop.empty() && !query.may_settle) {
    return true;
  }
  const std::string text = engine.decode_text(answer.token_ids, true);
  return !task.is_settled(text, query) &&
         std::none_of(query.stop.begin(), query.stop.end(), [&](const std::string& stop) {
           return text.find(stop) != std::string::npos;
         });
}

void finish(Engine& engine, const Query& query, Answer& answer) {
  answer.done = true;
  answer.text = engine.decode_text(answer.token_ids, true);
  for (const std::string& stop : query.stop) {
    answer.text = answer.text.substr(0, answer.text.find(stop));
  }
}

// One decode step of all answers that are not done; false when there are none.
bool step(Engine& engine, const Task& task, const Query& query, std::span<Answer> answers) {
  std::vector<Sequence*> sequences;
  std::vector<int32_t> ids;
  std::vector<Answer*> going;
  for (Answer& answer : answers) {
    if (answer.done) {
      continue;
    }
    const bool forced = !query.forced.empty();
    if (!(forced ? draw_forced(engine, query, answer) : draw(engine, task, query, answer))) {
      finish(engine, query, answer);
      continue;
    }
    sequences.push_back(&answer.sequence);
    ids.push_back(forced ? query.forced[answer.token_ids.size() - 1] : answer.token_ids.back());
    going.push_back(&answer);
  }
  if (going.empty()) {
    return false;
  }
  const Clock::time_point start = Clock::now();
  engine.decode(sequences, ids);
  const double share = seconds_since(start) / static_cast<double>(going.size());
  for (Answer* answer : going) {
    answer->decode_seconds += share;
  }
  return true;
}

}  // namespace

bool generate_answers(Engine& engine, const Task& task, const Query& query,
                      std::span<Answer> answers, bool together, const KeepGoing& keep_going) {
  const size_t size = together ? answers.size() : 1;
  for (size_t i = 0; i < answers.size(); i += size) {
    while (step(engine, task, query, answers.subspan(i, size))) {
      if (!keep_going()) {
        return false;
      }
    }
  }
  return true;
}

bool follow(Engine& engine, const Sequence& context, int64_t dense_index,
            std::span<const int32_t> token_ids, std::span<Followed> followed,
            const KeepGoing& keep_going) {
  const bool is_extra = dense_index >= std::ssize(followed);
  std::optional<Sequence> extra;
  if (is_extra) {
    extra = engine.fork(context);
  }
  const Sequence& dense = is_extra ? *extra : followed[static_cast<size_t>(dense_index)].sequence;
  for (size_t i = 0; i + 1 < token_ids.size(); ++i) {
    if (extra) {
      engine.decode(*extra, token_ids[i]);
    }
    for (Followed& one : followed) {
      const Clock::time_point start = Clock::now();
      engine.decode(one.sequence, token_ids[i]);
      one.decode_seconds += seconds_since(start);
    }
    for (Followed& one : followed) {
      one.nll -= one.sequence.log_prob(token_ids[i + 1]);
      one.kl += kl_divergence(dense.logits(), one.sequence.logits());
      one.agreed += argmax(dense.logits()) == argmax(one.sequence.logits()) ? 1 : 0;
    }
    if (!keep_going()) {
      return false;
    }
  }
  return true;
}

}  // namespace lychee::eval
