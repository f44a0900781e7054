#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lychee::text {

// Reads the first dictionary of a Python source: keys are strings of one character, as '\u4e00' or
// as they are; values are numbers or again such dictionaries, whose keys then come together. Calls
// `use(keys, value)` for every number. Throws Error(kInvalidArgument) that names `name` and the
// position for anything else.
void read_python_table(const std::string& name, std::string_view source,
                       const std::function<void(std::u32string_view keys, double value)>& use);

}  // namespace lychee::text
