#include "eval/task.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "eval/follow_task.h"
#include "eval/longbench_task.h"
#include "eval/math_task.h"
#include "eval/retrieval_tasks.h"
#include "eval/ruler_tasks.h"
#include "samples/random.h"

namespace lychee::eval {
namespace {

using MakeTasks = TaskList (*)(const TaskInputs& inputs);

struct TaskEntry {
  const char* name;
  MakeTasks make;
};

template <std::unique_ptr<Task> (*kMake)(const TaskInputs&)>
TaskList one(const TaskInputs& inputs) {
  TaskList list;
  list.push_back(kMake(inputs));
  return list;
}

constexpr std::array kEntries{
    TaskEntry{"passkey", one<make_passkey_task>},
    TaskEntry{"needle", one<make_needle_task>},
    TaskEntry{"phrase", one<make_phrase_task>},
    TaskEntry{"perplexity",
              one<[](const TaskInputs& inputs) { return make_follow_task(inputs, false); }>},
    TaskEntry{"recall",
              one<[](const TaskInputs& inputs) { return make_follow_task(inputs, true); }>},
    TaskEntry{"ruler", [](const TaskInputs& inputs) { return make_ruler_tasks("ruler", inputs); }},
    TaskEntry{"longbench", make_longbench_tasks},
    TaskEntry{"math", make_math_tasks},
};

}  // namespace

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  names.reserve(kEntries.size() + samples::ruler_tasks().size());
  for (const TaskEntry& entry : kEntries) {
    names.emplace_back(entry.name);
  }
  for (const samples::RulerTask& task : samples::ruler_tasks()) {
    names.emplace_back(task.name);
  }
  return names;
}

TaskList make_tasks(const std::vector<std::string>& names, const TaskInputs& inputs) {
  TaskList tasks;
  for (const std::string& name : names) {
    const auto* entry = std::find_if(kEntries.begin(), kEntries.end(),
                                     [&](const TaskEntry& one) { return one.name == name; });
    TaskList made = entry != kEntries.end() ? entry->make(inputs) : make_ruler_tasks(name, inputs);
    require(!made.empty() || entry == kEntries.end(), ErrorCode::kInvalidArgument, name,
            ": no line of --data can be used");
    require(!made.empty(), ErrorCode::kInvalidArgument, "no task '", name,
            "'; eval --help lists them");
    for (auto& task : made) {
      const bool is_new = std::none_of(tasks.begin(), tasks.end(), [&](const auto& other) {
        return other->name() == task->name();
      });
      if (is_new) {
        tasks.push_back(std::move(task));
      }
    }
  }
  return tasks;
}

uint64_t sample_seed(const std::string& task, const SampleId& id) {
  samples::Random by_seed(id.seed);
  uint64_t state = by_seed.next();
  for (const char c : task) {
    state = samples::Random(state ^ static_cast<unsigned char>(c)).next();
  }
  state = samples::Random(state ^ static_cast<uint64_t>(id.length)).next();
  return samples::Random(state ^ static_cast<uint64_t>(id.sample)).next();
}

}  // namespace lychee::eval
