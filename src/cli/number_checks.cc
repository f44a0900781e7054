#include "cli/number_checks.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

namespace lychee::cli {

namespace {

template <typename T>
std::optional<T> parse(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [next, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && next == end ? std::optional(value) : std::nullopt;
}

template <typename T, typename Fits>
CLI::Validator number_check(std::string wanted, Fits fits) {
  CLI::Validator check("");
  check.operation([wanted = std::move(wanted), fits](const std::string& text) {
    const std::optional<T> value = parse<T>(text);
    return value && fits(*value) ? std::string() : fmt::format("'{}' is not {}", text, wanted);
  });
  return check;
}

}  // namespace

CLI::Validator whole_number(int64_t low, int64_t high) {
  return number_check<int64_t>(fmt::format("a whole number between {} and {}", low, high),
                               [=](int64_t value) { return value >= low && value <= high; });
}

CLI::Validator seed_number() {
  return number_check<uint64_t>("a whole number between 0 and 18446744073709551615",
                                [](uint64_t) { return true; });
}

CLI::Validator number_between(double low, double high) {
  return number_check<double>(fmt::format("a number between {} and {}", low, high),
                              [=](double value) { return value >= low && value <= high; });
}

CLI::Validator number_at_least(double low) {
  return number_check<double>(fmt::format("a finite number of at least {}", low),
                              [=](double value) { return value >= low && std::isfinite(value); });
}

CLI::Validator number_above(double low) {
  return number_check<double>(fmt::format("a finite number above {}", low),
                              [=](double value) { return value > low && std::isfinite(value); });
}

}  // namespace lychee::cli
