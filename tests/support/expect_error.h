#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "lychee/error.h"

namespace lychee::test {

// Runs `fn` and expects lychee::Error of this code, whose message is one line and holds `part`.
template <typename Fn>
void expect_error(ErrorCode code, const std::string& part, Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
    return;
  }
  ADD_FAILURE() << "no error; expected one about: " << part;
}

}  // namespace lychee::test
