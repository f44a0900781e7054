#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "eval/longbench_task.h"
#include "eval/math_grader.h"
#include "eval/math_task.h"
#include "eval/ruler_tasks.h"
#include "lychee/error.h"
#include "text/python_table.h"
#include "text/word_dictionary.h"

namespace {

template <typename Fn>
void try_to(Fn&& fn) {
  try {
    fn();
  } catch (const lychee::Error&) {
    return;
  }
}

}  // namespace

// The input as a file of each kind that eval reads, and as an answer of a model.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lychee::eval;  // NOLINT(google-build-using-namespace)
  const std::string input(reinterpret_cast<const char*>(data), size);
  for (const bool skip : {false, true}) {
    BadLines bad{.skip = skip};
    TaskInputs inputs;
    inputs.encode = [](std::string_view) { return std::vector<int32_t>(); };
    inputs.bad = &bad;
    inputs.words = "/dev/null";  // no dictionary is read again and again
    try_to([&] {
      inputs.data = {parse_jsonl("input", input, bad)};
      try_to([&] { static_cast<void>(make_longbench_tasks(inputs)); });
      static_cast<void>(make_math_tasks(inputs));
    });
  }
  try_to([&] { static_cast<void>(parse_squad("input", input)); });
  try_to([&] { static_cast<void>(parse_hotpotqa("input", input)); });
  try_to([&] { static_cast<void>(lychee::text::WordDictionary("input", input)); });
  try_to([&] { lychee::text::read_python_table("input", input, [](auto, double) {}); });
  static_cast<void>(same_answer("\\{1,x\\}", extract_answer(input, true)));
  static_cast<void>(same_answer(input.substr(0, size / 2), input.substr(size / 2)));
  return 0;
}
