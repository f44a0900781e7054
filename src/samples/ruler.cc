#include "samples/ruler.h"

#include "samples/ruler_niah.h"
#include "samples/ruler_other.h"

namespace lychee::samples {

const std::vector<RulerTask>& ruler_tasks() {
  static const std::vector<RulerTask> tasks{
      {"niah_single_1", 128, false, 0, make_niah_single_1},
      {"niah_single_2", 128, false, 0, make_niah_single_2},
      {"niah_single_3", 128, false, 0, make_niah_single_3},
      {"niah_multikey_1", 128, false, 0, make_niah_multikey_1},
      {"niah_multikey_2", 128, false, 0, make_niah_multikey_2},
      {"niah_multikey_3", 128, false, 0, make_niah_multikey_3},
      {"niah_multivalue", 128, false, 0, make_niah_multivalue},
      {"niah_multiquery", 128, false, 0, make_niah_multiquery},
      {"vt", 30, false, 0, make_variable_tracking},
      {"cwe", 120, false, 0, make_common_words},
      {"fwe", 50, false, 0, make_frequent_words},
      {"qa_1", 32, true, 1, make_qa},
      {"qa_2", 32, true, 2, make_qa},
  };
  return tasks;
}

}  // namespace lychee::samples
