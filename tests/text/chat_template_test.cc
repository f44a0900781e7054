#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "lychee/error.h"

namespace lychee::text {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

std::string data_path(const std::string& name) {
  return std::string(LYCHEE_SOURCE_DIR) + "/tests/data/" + name;
}

std::string read_text(const std::string& name) {
  std::ifstream file(data_path(name), std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Json read_json(const std::string& name) {
  return Json::parse(read_text(name));
}

std::string render(const std::string& source, const Json& variables = Json::object()) {
  return ChatTemplate(source).render(variables);
}

// The error of constructing or rendering, "" when there is none.
std::string error_of(const std::string& source, const Json& variables = Json::object(),
                     ErrorCode code = ErrorCode::kInvalidArgument) {
  try {
    const std::string text = render(source, variables);
    ADD_FAILURE() << source.substr(0, 200) << " rendered as " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << source.substr(0, 200) << ": " << error.what();
    return error.what();
  }
  return "";
}

// The error of constructing alone: a construct we do not run.
std::string refusal_of(const std::string& source) {
  try {
    const ChatTemplate unused(source);
    ADD_FAILURE() << source << " was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << source << ": " << error.what();
    return error.what();
  }
  return "";
}

TEST(ChatTemplate, Qwen3RendersAsHuggingFace) {
  const ChatTemplate chat(
      read_json("qwen3/tokenizer_config.json").at("chat_template").get<std::string>());
  const Json golden = read_json("qwen3/chat_golden.json");
  int num_renders = 0;
  for (const Json& conversation : golden.at("chats")) {
    for (const Json& expected : conversation.at("renders")) {
      Json variables = {{"messages", conversation.at("messages")},
                        {"add_generation_prompt", expected.at("add_generation_prompt")}};
      if (expected.contains("enable_thinking")) {
        variables["enable_thinking"] = expected.at("enable_thinking");
      }
      EXPECT_EQ(chat.render(variables), expected.at("text")) << conversation.at("name");
      ++num_renders;
    }
  }
  EXPECT_EQ(num_renders, 56);
}

TEST(ChatTemplate, FamiliesRenderAsJinja) {
  int num_cases = 0;
  const Json golden = read_json("chat/families.json");
  for (const Json& expected : golden.at("cases")) {
    const ChatTemplate chat(read_text("chat/" + expected.at("template").get<std::string>()));
    ++num_cases;
    if (expected.at("text").is_null()) {
      EXPECT_THROW((void)chat.render(expected.at("variables")), Error) << expected.at("name");
      continue;
    }
    try {
      EXPECT_EQ(chat.render(expected.at("variables")), expected.at("text")) << expected.at("name");
    } catch (const Error& error) {
      ADD_FAILURE() << expected.at("name") << ": " << error.what();
    }
  }
  EXPECT_GE(num_cases, 200);
}

TEST(ChatTemplate, GeneratedTemplatesRenderAsJinja) {
  const Json golden = read_json("chat/random.json");
  int num_rendered = 0;
  for (const Json& expected : golden.at("cases")) {
    const std::string source = expected.at("template").get<std::string>();
    std::string text;
    try {
      text = render(source, golden.at("variables"));
    } catch (const Error& error) {
      EXPECT_TRUE(expected.at("text").is_null()) << source << "\n" << error.what();
      continue;
    }
    ++num_rendered;
    EXPECT_EQ(Json(text), expected.at("text")) << source;
  }
  EXPECT_GE(num_rendered, 300);
}

TEST(ChatTemplate, WhitespaceControl) {
  EXPECT_EQ(render("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
  EXPECT_EQ(render("a  {%- if true -%}  b  {%- endif -%}  c"), "abc");
  EXPECT_EQ(render("a\n  {%+ if true +%}\nb{% endif %}"), "a\n  \nb");
  EXPECT_EQ(render("  {# note #}\nx {{- 'y' -}} \n z"), "xyz");
  EXPECT_EQ(render("a\r\nb\rc"), "a\nb\nc");
  EXPECT_EQ(render("{%- raw %} {{ x }} {% endraw -%} y"), " {{ x }} y");
}

TEST(ChatTemplate, ScopesOfSet) {
  EXPECT_EQ(render("{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 9 %}{% endfor %}{{ x }}"),
            "111");
  EXPECT_EQ(render("{% if true %}{% set x = 1 %}{% endif %}{{ x }}"), "1");
  EXPECT_EQ(render("{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}"
                   "{% endfor %}{{ ns.x }}"),
            "4");
}

TEST(ChatTemplate, LoopControls) {
  EXPECT_EQ(render("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
                   "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"),
            "023");
}

TEST(ChatTemplate, ToJsonKeepsOrderAndCharacters) {
  const Json tool =
      Json::parse(R"({"z": "é\u0001\"<>&'", "a": [1, 2.0, 1e30, null, true], "e": {}})");
  EXPECT_EQ(render("{{ t | tojson }}", {{"t", tool}}),
            R"({"z": "é\u0001\"<>&'", "a": [1, 2.0, 1e+30, null, true], "e": {}})");
  EXPECT_EQ(render("{{ t | tojson(indent=2) }}", {{"t", Json::parse(R"({"a": [1], "e": []})")}}),
            "{\n  \"a\": [\n    1\n  ],\n  \"e\": []\n}");
}

TEST(ChatTemplate, RaiseExceptionGivesTheTemplatesMessage) {
  EXPECT_EQ(error_of("{{ raise_exception('Roles must alternate!') }}"), "Roles must alternate!");
}

TEST(ChatTemplate, StrftimeNowGivesToday) {
  const auto today = [] {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    char text[32];
    return std::string(text, std::strftime(text, sizeof text, "%d %b %Y", &local));
  };
  const std::string before = today();
  const std::string text = render("{{ strftime_now('%d %b %Y') }}");
  EXPECT_TRUE(text == before || text == today()) << text;
  EXPECT_EQ(render("{{ strftime_now('') }}"), "");
}

TEST(ChatTemplate, UndefinedIsFalsyAndEmpty) {
  EXPECT_EQ(render("{{ x }}{% if x %}1{% endif %}{% for i in x %}2{% endfor %}{{ x is defined }}"),
            "False");
  EXPECT_THAT(error_of("\n{{ x.y }}"), HasSubstr("'x' is undefined (chat template, line 2)"));
  EXPECT_THAT(error_of("{{ x + 'a' }}"), HasSubstr("'x' is undefined"));
  EXPECT_THAT(error_of("{{ m.a.b }}", {{"m", Json::object()}}), HasSubstr("has no 'a'"));
}

TEST(ChatTemplate, RefusesWhatItCannotRunByNameAndLine) {
  EXPECT_THAT(refusal_of("a\n{{ x | frobnicate }}"), HasSubstr("filter 'frobnicate' of line 2"));
  EXPECT_THAT(refusal_of("{{ x is wobbly }}"), HasSubstr("test 'wobbly' of line 1"));
  EXPECT_THAT(refusal_of("{{ x.encode('utf8') }}"), HasSubstr("method 'encode' of line 1"));
  EXPECT_THAT(refusal_of("{{ lipsum(3) }}"), HasSubstr("function 'lipsum' of line 1"));
  EXPECT_THAT(refusal_of("\n\n{% include 'x' %}"), HasSubstr("{% include %} of line 3"));
  EXPECT_THAT(refusal_of("{% for x in y recursive %}{% endfor %}"), HasSubstr("recursive loop"));
  EXPECT_THAT(refusal_of("{{ f(*x) }}"), HasSubstr("unpacked arguments"));
  EXPECT_THAT(refusal_of("{{ x[1, 2] }}"), HasSubstr("index of several parts"));
  EXPECT_THAT(refusal_of("{{ '\\N{DASH}' }}"), HasSubstr("escape \\N"));
  EXPECT_THAT(refusal_of("{{ 99999999999999999999 }}"), HasSubstr("leaves 64 bits"));
  EXPECT_THAT(refusal_of("{{ x | map('zap') }}"), HasSubstr("filter 'zap'"));
  EXPECT_THAT(refusal_of("{{ x | selectattr('a', 'zap') }}"), HasSubstr("test 'zap'"));
}

TEST(ChatTemplate, SyntaxErrorsNameTheLine) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"\n{{ x", "tag of line 2 is not closed"},
      {"{{ 'x }}", "string of line 1 is not closed"},
      {"{# x", "comment of line 1 is not closed"},
      {"{% raw %} x", "no {% endraw %}"},
      {"{% if x %}", "lacks its {% endif %}"},
      {"{% endif %}", "{% endif %} of line 1 closes nothing"},
      {"{% break %}", "in no loop"},
      {"{{ }}", "expected an expression"},
      {"{{ a b }}", "expected '}}', found 'b'"},
      {"{{ (1] }}", "unexpected ']'"},
      {"{{ 1 ? 2 }}", "unexpected '?'"},
      {"{{ x is a is b }}", "no second 'is'"},
      {"{{ f(a=1, 2) }}", "a named argument"},
      {"{% set true = 1 %}", "assigns to 'true'"},
      {"{% set x.0 = 1 %}", "assigns to a position"},
      {"{% call x %}{% endcall %}", "calls nothing"},
      {"{{ '\\x4' }}", "lacks digits"},
      {"{{ '\\ud800' }}", "no Unicode character"},
      {"{{ 012 }}", "begins with 0"},
      {"{{ x[] }}", "empty index"},
      {"{{ f(x }}", "unexpected '}'"},
  };
  for (const auto& [source, message] : cases) {
    EXPECT_THAT(error_of(source), HasSubstr(message)) << source;
  }
}

TEST(ChatTemplate, WrongTypesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{{ 1 + 'a' }}", "between int and str"},
      {"{{ 1 < 'a' }}", "between int and str"},
      {"{{ -'a' }}", "before a str"},
      {"{{ +'a' }}", "before a str"},
      {"{{ 1 // 0 }}", "division by zero"},
      {"{{ 0 ** -1 }}", "negative power"},
      {"{{ 9223372036854775807 + 1 }}", "leaves 64 bits"},
      {"{{ (-9223372036854775807 - 1) // -1 }}", "leaves 64 bits"},
      {"{{ 2 ** 64 }}", "leaves 64 bits"},
      {"{{ -(-9223372036854775807 - 1) }}", "leaves 64 bits"},
      {"{{ (-9223372036854775807 - 1) | abs }}", "leaves 64 bits"},
      {"{{ 1 in 'a' }}", "cannot be looked for"},
      {"{% for x in 3 %}{% endfor %}", "cannot be iterated"},
      {"{{ 3 | length }}", "has no length"},
      {"{{ {[]: 1} }}", "cannot be the key"},
      {"{{ {(1, 2): 1} | tojson }}", "cannot be the key of an object"},
      {"{{ x | tojson }}", "undefined has no JSON form"},
      {"{{ 'a'[::0] }}", "step of a slice"},
      {"{{ 'a'['b':] }}", "cannot be bounded by a str"},
      {"{{ 'a'.split('') }}", "separator is empty"},
      {"{{ 'a'.strip(1) }}", "must be a str"},
      {"{{ 'a'.replace('a', 'b', 'c') }}", "must be an int"},
      {"{{ 'a'.replace('a') }}", "replace() needs the argument 'new'"},
      {"{{ 'a'.upper(1) }}", "at most 0 arguments"},
      {"{{ 'a' | trim(zap=1) }}", "no place for the argument 'zap'"},
      {"{{ [1].append(2) }}", "may not change a list"},
      {"{{ [1].index(2) }}", "no such item"},
      {"{{ range(1, 2, 0) }}", "the step is 0"},
      {"{{ range(100001) }}", "longer than 100000"},
      {"{{ namespace(1) }}", "takes one dict"},
      {"{{ namespace({1: 2}) }}", "a name must be a str"},
      {"{% set x = 1 %}{% set x.y = 2 %}", "only a namespace"},
      {"{% set a, b = [1] %}", "cannot be assigned to 2 names"},
      {"{% set x = 1 %}{{ x() }}", "a int cannot be called"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "at most 1 arguments"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "no place for the argument 'b'"},
      {"{{ 1 | items }}", "is no dict"},
      {"{{ 1 | dictsort }}", "is no dict"},
      {"{{ {} | dictsort(by='x') }}", "must be key or value"},
      {"{{ 'a' | abs }}", "is no number"},
      {"{{ 'a' | round }}", "is no number"},
      {"{{ 1.5 | round(99) }}", "0 to 30"},
      {"{{ 1.5 | round(1, 'x') }}", "common, ceil or floor"},
      {"{{ [1] | map }}", "needs a filter's name"},
      {"{{ [1] | map(x=1) }}", "unknown argument 'x'"},
      {"{{ [1] | selectattr }}", "need the name"},
      {"{{ ','.join([1]) }}", "an item is a int"},
      {"{{ 1 | indent }}", "a str was expected"},
      {"{{ [1] | tojson(indent=65) }}", "wider than 64"},
      {"{{ [1] | tojson(separators=[1]) }}", "must be two texts"},
      {"{{ [1] | tojson(separators=['" + std::string(65, 'x') + "', '']) }}", "longer than 64"},
  };
  for (const auto& [source, message] : cases) {
    EXPECT_THAT(error_of(source), HasSubstr(message)) << source;
  }
  EXPECT_THAT(error_of("{{ [1] | map(x) | list }}", {{"x", "zap"}}, ErrorCode::kUnsupported),
              HasSubstr("unknown filter 'zap'"));
  EXPECT_THAT(error_of("{{ [1] | select(x) | list }}", {{"x", "zap"}}, ErrorCode::kUnsupported),
              HasSubstr("unknown test 'zap'"));
  EXPECT_THAT(error_of("x", {{"big", 18446744073709551615ULL}}), HasSubstr("beyond 64 bits"));
  EXPECT_THAT(error_of("x", Json::array()), HasSubstr("must be a JSON object"));
}

TEST(ChatTemplate, MacrosDoNotOutliveTheirScope) {
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% for i in [1] %}{% macro m() %}{{ i }}"
                       "{% endmacro %}{% set ns.m = m %}{% endfor %}{% set m = ns.m %}{{ m() }}",
                       Json::object(), ErrorCode::kUnsupported),
              HasSubstr("outside the block"));
}

TEST(ChatTemplate, DepthIsLimited) {
  const auto repeated = [](const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) {
      result += text;
    }
    return result;
  };
  for (const std::string& source :
       {"{{ " + repeated("(", 500) + "1" + repeated(")", 500) + " }}",
        "{{ " + repeated("[", 500) + repeated("]", 500) + " }}",
        "{{ " + repeated("not ", 20000) + "1 }}", "{{ " + repeated("-", 20000) + "1 }}",
        "{{ 1" + repeated(" + 1", 20000) + " }}", "{{ x" + repeated(".x", 20000) + " }}",
        "{{ x" + repeated("|string", 20000) + " }}", repeated("{% if x %}", 20000),
        "{% if x %}" + repeated("{% elif x %}", 20000) + "{% endif %}",
        "{% set " + repeated("(", 500) + "x" + repeated(")", 500) + " = 1 %}"}) {
    EXPECT_THAT(error_of(source, Json::object(), ErrorCode::kUnsupported),
                ::testing::AnyOf(HasSubstr("deeper than"), HasSubstr("more than")))
        << source.substr(0, 40);
  }
  EXPECT_THAT(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              HasSubstr("recurses deeper"));
  EXPECT_THAT(error_of("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}"
                       "{% set ns.x = [ns.x] %}{% endfor %}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(
      error_of("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% for j in [ns.x] %}"
               "{% set ns.x = [loop] %}{% endfor %}{% endfor %}"),
      HasSubstr("nested deeper"));
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) {
    deep = Json::array({deep});
  }
  EXPECT_THAT(error_of("x", {{"deep", deep}}), HasSubstr("nested deeper"));
}

TEST(ChatTemplate, WorkAndSizeAreLimited) {
  const std::string many = "{% for a in range(99999) %}{% for b in range(99999) %}";
  EXPECT_THAT(error_of(many + "{% endfor %}{% endfor %}"), HasSubstr("steps"));
  EXPECT_THAT(error_of("{{ 'abc' * 9000000000 }}"), HasSubstr("too long"));
  EXPECT_THAT(error_of("{{ [1] * 9000000000 }}"), HasSubstr("too long"));
  EXPECT_THAT(error_of("{% set ns = namespace(x='ab') %}{% for i in range(99) %}"
                       "{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
              HasSubstr("bytes of text"));
  EXPECT_THAT(error_of("{% set ns = namespace(x=[1]) %}{% for i in range(99) %}"
                       "{% set ns.x = [ns.x, ns.x] %}{% endfor %}"),
              HasSubstr("larger than"));
  EXPECT_THAT(error_of("{% set x = 'a' * 1000000 %}{% for i in range(99) %}{{ x }}{% endfor %}"),
              HasSubstr("output is longer"));
  EXPECT_THAT(error_of("{% set x = 'a' * 1000000 %}{{ x.replace('a', x) }}"),
              HasSubstr("result is too long"));
}

TEST(ChatTemplate, IsImmutableBetweenRenderings) {
  const ChatTemplate chat(
      "{% set ns = namespace(n=0) %}{% for m in messages %}"
      "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}");
  const Json variables = {{"messages", {1, 2, 3}}};
  EXPECT_EQ(chat.render(variables), "3");
  EXPECT_EQ(chat.render(variables), "3");
}

}  // namespace
}  // namespace lychee::text
