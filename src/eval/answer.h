#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/task.h"
#include "lychee/engine.h"

namespace lychee::eval {

// A question being answered under one setting.
struct Answer {
  Sequence sequence;
  std::vector<int32_t> token_ids = {};
  std::string text = {};
  double decode_seconds = 0;
  bool done = false;
};

using KeepGoing = std::function<bool()>;

// Generates all `answers` to `query` to their ends: an end token, max_tokens, or text that `task`
// calls settled; or, for a forced query, as many tokens as that has. Their sequences stand behind
// the question. With `together` one batch decodes them, and the time of a step is divided among
// them; without it, one after the other. Returns false when `keep_going` said so.
bool generate_answers(Engine& engine, const Task& task, const Query& query,
                      std::span<Answer> answers, bool together, const KeepGoing& keep_going);

// What following a text under one setting gave.
struct Followed {
  Sequence sequence;
  double nll = 0;  // sum of -log p of the tokens that decode steps predicted
  double kl = 0;   // sum of KL(dense ‖ this)
  double agreed = 0;
  double decode_seconds = 0;
};

// Feeds `token_ids` by decode steps to every sequence of `followed` and compares what they predict
// for tokens 1… with what the dense one among them does; token 0 was predicted by the prompt. With
// `dense_index` beyond them, a fork of `context` is followed besides. `together` as above. Returns
// false when `keep_going` said so.
bool follow(Engine& engine, const Sequence& context, int64_t dense_index,
            std::span<const int32_t> token_ids, std::span<Followed> followed, bool together,
            const KeepGoing& keep_going);

}  // namespace lychee::eval
