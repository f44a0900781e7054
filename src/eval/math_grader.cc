#include "eval/math_grader.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>
#include <vector>

#include "eval/math_expression.h"

namespace lychee::eval {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// Takes `\name{…}` away, with its content unless `keep`.
void unwrap(std::string& text, std::string_view name, bool keep) {
  const std::string begin = "\\" + std::string(name) + "{";
  for (size_t at = text.find(begin); at != std::string::npos; at = text.find(begin)) {
    const size_t end = text.find('}', at);
    const std::string inside =
        end == std::string::npos ? "" : text.substr(at + begin.size(), end - at - begin.size());
    text.replace(at, end == std::string::npos ? text.size() - at : end - at + 1,
                 keep ? inside : "");
  }
}

std::string trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) {
    return "";
  }
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n.") + 1 - begin));
}

// Without what only changes the look.
std::string plain(std::string_view text) {
  std::string out = trim(text);
  constexpr std::array<std::pair<const char*, const char*>, 21> kLooks{{{"\\left", ""},
                                                                        {"\\right", ""},
                                                                        {"\\!", ""},
                                                                        {"\\,", " "},
                                                                        {"\\;", " "},
                                                                        {"\\:", " "},
                                                                        {"\\ ", " "},
                                                                        {"~", " "},
                                                                        {"$", ""},
                                                                        {"\\displaystyle", ""},
                                                                        {"\\dfrac", "\\frac"},
                                                                        {"\\tfrac", "\\frac"},
                                                                        {"^{\\circ}", ""},
                                                                        {"^\\circ", ""},
                                                                        {"\\lbrace", "\\{"},
                                                                        {"\\rbrace", "\\}"},
                                                                        {"\\quad", " "},
                                                                        {"\\(", ""},
                                                                        {"\\)", ""},
                                                                        {"−", "-"},
                                                                        {"π", "\\pi"}}};
  for (const auto& [from, to] : kLooks) {
    replace_all(out, from, to);
  }
  unwrap(out, "text", false);
  unwrap(out, "mathrm", true);
  unwrap(out, "mathbf", true);
  return trim(out);
}

// 1,234 as 1234, but 1, 234 and (1,234) are lists.
std::string join_thousands(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',' && !out.empty() && text.size() > i + 3) {
      size_t before = 0;
      while (before < out.size() &&
             std::isdigit(static_cast<unsigned char>(out[out.size() - 1 - before])) != 0) {
        ++before;
      }
      size_t after = 0;
      while (i + 1 + after < text.size() &&
             std::isdigit(static_cast<unsigned char>(text[i + 1 + after])) != 0) {
        ++after;
      }
      if (before >= 1 && before <= 3 && after == 3 && out.size() == before) {
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

// Splits at `mark` outside brackets.
std::vector<std::string> split(const std::string& text, std::string_view mark) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (size_t i = 0; i < text.size();) {
    depth += std::string_view("([{").find(text[i]) != std::string_view::npos ? 1 : 0;
    depth -= std::string_view(")]}").find(text[i]) != std::string_view::npos ? 1 : 0;
    if (depth == 0 && std::string_view(text).substr(i).starts_with(mark)) {
      parts.emplace_back();
      i += mark.size();
    } else {
      parts.back() += text[i++];
    }
  }
  for (std::string& part : parts) {
    part = trim(part);
  }
  return parts;
}

struct Bracketed {
  std::string open, close;  // empty: no brackets
  std::string inside;
};

Bracketed open_brackets(const std::string& text) {
  if (text.starts_with("\\{") && text.ends_with("\\}")) {
    return {"{", "}", text.substr(2, text.size() - 4)};
  }
  if (text.size() >= 2 && (text[0] == '(' || text[0] == '[') &&
      (text.back() == ')' || text.back() == ']')) {
    const std::string inside = text.substr(1, text.size() - 2);
    int depth = 0;
    for (const char c : inside) {
      depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
      if (depth < 0) {
        return {"", "", text};
      }
    }
    if (split(inside, ",").size() > 1) {
      return {text.substr(0, 1), text.substr(text.size() - 1), inside};
    }
  }
  return {"", "", text};
}

// Both signs of each part that has \pm.
std::vector<std::string> expand_signs(const std::vector<std::string>& parts) {
  std::vector<std::string> all;
  for (const std::string& part : parts) {
    if (part.find("\\pm") == std::string::npos && part.find("±") == std::string::npos) {
      all.push_back(part);
      continue;
    }
    for (const char* sign : {"+", "-"}) {
      std::string one = part;
      replace_all(one, "\\pm", sign);
      replace_all(one, "±", sign);
      all.push_back(one);
    }
  }
  return all;
}

class Comparison {
 public:
  explicit Comparison(double tolerance) : tolerance_(tolerance) {}

  bool same(const std::string& gold, const std::string& answer) const {
    const auto golds = list_of(gold);
    const auto answers = list_of(answer);
    const Bracketed pair = open_brackets(answer);
    if (golds.size() > 1 && answers.size() == 1 && pair.open == "(" && pair.close == ")") {
      return same_in_any_order(golds, split(pair.inside, ","));  // written as a pair by mistake
    }
    return golds.size() > 1 || answers.size() > 1 ? same_in_any_order(golds, answers)
                                                  : same_one(golds.front(), answers.front());
  }

 private:
  // A set is a list of its elements.
  static std::vector<std::string> list_of(const std::string& text) {
    const Bracketed set = open_brackets(text);
    return expand_signs(split(join_thousands(set.open == "{" ? set.inside : text), ","));
  }

  bool same_in_any_order(const std::vector<std::string>& golds,
                         std::vector<std::string> answers) const {
    if (golds.size() != answers.size()) {
      return false;
    }
    return std::all_of(golds.begin(), golds.end(), [&](const std::string& gold) {
      const auto found =
          std::find_if(answers.begin(), answers.end(),
                       [&](const std::string& answer) { return same_one(gold, answer); });
      if (found == answers.end()) {
        return false;
      }
      answers.erase(found);
      return true;
    });
  }

  bool same_one(const std::string& gold, const std::string& answer) const {
    const auto golds = split(gold, "\\cup");
    const auto answers = split(answer, "\\cup");
    if (golds.size() > 1 || answers.size() > 1) {
      return same_in_any_order(golds, answers);
    }
    const Bracketed a = open_brackets(right_side(gold));
    const Bracketed b = open_brackets(right_side(answer));
    if (a.open != b.open || a.close != b.close) {
      return false;
    }
    if (a.open.empty()) {
      return same_value(a.inside, b.inside);
    }
    const auto inner_golds = split(a.inside, ",");
    const auto inner_answers = split(b.inside, ",");
    if (a.open == "{") {
      return same_in_any_order(inner_golds, inner_answers);
    }
    return std::equal(
        inner_golds.begin(), inner_golds.end(), inner_answers.begin(), inner_answers.end(),
        [&](const std::string& one, const std::string& other) { return same_one(one, other); });
  }

  static std::string right_side(const std::string& text) {
    const auto sides = split(text, "=");
    std::string side = sides.back();
    const size_t in = side.find("\\in");
    if (in != std::string::npos && in < 4 && side.size() > in + 3 && side[in + 3] != 'f') {
      side = trim(side.substr(in + 3));
    }
    return side;
  }

  bool same_value(const std::string& gold, const std::string& answer) const {
    if (gold == answer) {
      return !gold.empty();
    }
    for (uint64_t round = 0; round < 3; ++round) {
      const auto a = evaluate(gold, round);
      const auto b = evaluate(answer, round);
      if (!a || !b) {
        return false;
      }
      const double limit = std::max(tolerance_, 1e-8 * std::max({1.0, std::abs(*a), std::abs(*b)}));
      if (!(std::abs(*a - *b) <= limit) && *a != *b) {
        return false;
      }
    }
    return true;
  }

  double tolerance_;
};

std::string last_boxed(std::string_view text) {
  const size_t at = text.rfind("\\boxed{");
  if (at == std::string_view::npos) {
    return "";
  }
  const std::string_view inside = text.substr(at + 7);
  int depth = 1;
  for (size_t i = 0; i < inside.size(); ++i) {
    depth += inside[i] == '{' ? 1 : inside[i] == '}' ? -1 : 0;
    if (depth == 0) {
      return std::string(inside.substr(0, i));
    }
  }
  return "";
}

std::string last_integer(std::string_view text) {
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  const auto end = std::find_if(text.rbegin(), text.rend(), is_digit);
  const auto begin = std::find_if_not(end, text.rend(), is_digit);
  return {begin.base(), end.base()};
}

}  // namespace

std::string extract_answer(std::string_view solution, bool integer) {
  constexpr std::string_view kMark = "final answer is";
  const size_t at = solution.rfind(kMark);
  if (at != std::string_view::npos) {
    std::string_view rest = solution.substr(at + kMark.size());
    rest = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.find_first_not_of(": "), rest.size()));
    const std::string boxed = last_boxed(rest);
    return boxed.empty() ? trim(rest) : boxed;
  }
  const std::string boxed = last_boxed(solution);
  return boxed.empty() && integer ? last_integer(solution) : boxed;
}

bool same_answer(std::string_view gold, std::string_view answer, double tolerance) {
  return Comparison(tolerance).same(plain(gold), plain(answer));
}

}  // namespace lychee::eval
