#include "eval/answer.h"

#include "base/check.h"
#include "eval/clock.h"
#include "eval/logits.h"

namespace lychee::eval {
namespace {

// Draws the next token of an answer that is known; true when it has more.
bool draw_forced(Engine& engine, const Query& query, Answer& answer) {
  answer.token_ids.push_back(engine.sample(answer.sequence));
  return answer.token_ids.size() < query.forced.size();
}

// The likeliest token that is no end token: what greedy decoding takes where end tokens are barred.
int32_t likeliest_inner_token(Engine& engine, const Query& query, const Sequence& sequence) {
  const size_t num_ends = engine.model().eos_ids.size() + query.end_ids.size();
  for (const auto& [id, log_prob] : sequence.top_log_probs(static_cast<int>(num_ends) + 1)) {
    if (!engine.is_end_token(sequence, id)) {
      return id;
    }
  }
  fail(ErrorCode::kInternal, "more end tokens than are known");
}

// Draws the next token; true when the answer goes on with it.
bool draw(Engine& engine, const Task& task, const Query& query, Answer& answer) {
  int32_t id = engine.sample(answer.sequence);
  if (engine.is_end_token(answer.sequence, id)) {
    if (std::ssize(answer.token_ids) >= query.min_tokens) {
      return false;
    }
    id = likeliest_inner_token(engine, query, answer.sequence);
  }
  answer.token_ids.push_back(id);
  if (std::ssize(answer.token_ids) >= query.max_tokens ||
      answer.sequence.length() >= engine.model().context_length) {
    return false;
  }
  return !query.may_settle || !task.is_settled(engine.decode_text(answer.token_ids, true), query);
}

// Decodes a batch to its end; the seconds of each sequence's share.
double decode_timed(Engine& engine, std::span<Sequence* const> sequences,
                    std::span<const int32_t> ids) {
  const Clock::time_point start = Clock::now();
  engine.decode(sequences, ids);
  engine.wait();
  return seconds_since(start) / static_cast<double>(sequences.size());
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
      answer.done = true;
      answer.text = engine.decode_text(answer.token_ids, true);
      continue;
    }
    sequences.push_back(&answer.sequence);
    ids.push_back(forced ? query.forced[answer.token_ids.size() - 1] : answer.token_ids.back());
    going.push_back(&answer);
  }
  if (going.empty()) {
    return false;
  }
  const double share = decode_timed(engine, sequences, ids);
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

namespace {

// One token for all of `followed`: in one batch, whose time is divided, or one after the other.
void feed(Engine& engine, int32_t id, std::span<Followed> followed, bool together) {
  const size_t size = together ? followed.size() : 1;
  for (size_t i = 0; i < followed.size(); i += size) {
    std::vector<Sequence*> sequences;
    for (Followed& one : followed.subspan(i, size)) {
      sequences.push_back(&one.sequence);
    }
    const double share = decode_timed(engine, sequences, std::vector<int32_t>(size, id));
    for (Followed& one : followed.subspan(i, size)) {
      one.decode_seconds += share;
    }
  }
}

// Adds how well the pending predictions foretell `next`, and how far they are from `dense`'s.
void compare(const Sequence& dense, int32_t next, std::span<Followed> followed) {
  const std::vector<double> wanted = log_softmax(dense.logits());
  const size_t best = argmax(dense.logits());
  std::vector<std::span<const float>> predicted;
  for (const Followed& one : followed) {
    predicted.push_back(one.sequence.logits());
  }
  const auto count = std::ssize(followed);
#pragma omp parallel for schedule(dynamic)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(i);
    const std::vector<double> given = log_softmax(predicted[index]);
    Followed& one = followed[index];
    one.nll -= given[static_cast<size_t>(next)];
    one.kl += kl_divergence(wanted, given);
    one.agreed += argmax(predicted[index]) == best ? 1 : 0;
  }
}

}  // namespace

bool follow(Engine& engine, const Sequence& context, int64_t dense_index,
            std::span<const int32_t> token_ids, std::span<Followed> followed, bool together,
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
    feed(engine, token_ids[i], followed, together);
    compare(dense, token_ids[i + 1], followed);
    if (!keep_going()) {
      return false;
    }
  }
  return true;
}

}  // namespace lychee::eval
