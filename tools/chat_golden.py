"""Makes the golden files of the chat templates' tests with Python's jinja2 (3.1), set up as Hugging
Face's transformers sets it up.

    python3 tools/chat_golden.py [--count N] [--seed S] [--out tests/data/chat]

families.json: templates of the shapes that model families publish (tests/data/chat/*.jinja), each
rendered for several conversations. random.json: generated templates; "error" where jinja2 refuses.
"""

import argparse
import json
import pathlib
import random

import jinja2
import jinja2.ext
import jinja2.sandbox

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Generation(jinja2.ext.Extension):
    """{% generation %}: renders as what it holds."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def raise_exception(message):
    raise jinja2.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def render(source, variables):
    """The text, or None where jinja2 raises."""
    try:
        return environment().from_string(source).render(**variables)
    except Exception:  # whatever Python raises, our renderer has to refuse too
        return None


TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather \u2014 today's, in \u00b0C.",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "A \"city\" <name> & more"},
        "days": {"type": "integer", "default": 1}}}}}
SYSTEM = {"role": "system", "content": "  You are terse. "}
USER = {"role": "user", "content": "Wie sp\u00e4t ist es? \u4f60\u597d <|x|> {{ y }}"}
ANSWER = {"role": "assistant", "content": " It is noon. "}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nNoon."}
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "abcdefghi", "type": "function",
     "function": {"name": "get_weather", "arguments": {"city": "K\u00f6ln", "days": 2}}}]}
RESULT = {"role": "tool", "content": "{\"t\": 21.5}", "tool_call_id": "abcdefghi",
          "name": "get_weather"}
CONVERSATIONS = {
    "one": [USER],
    "system": [SYSTEM, USER],
    "turns": [SYSTEM, USER, ANSWER, USER],
    "no_system_turns": [USER, ANSWER, USER, THOUGHT, USER],
    "tool": [SYSTEM, USER, CALL, RESULT, USER],
    "answered": [USER, THOUGHT],
    "twice_user": [USER, USER],
    "empty": [],
}


def family_cases():
    cases = []
    for path in sorted((ROOT / "tests/data/chat").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for name, messages in CONVERSATIONS.items():
            for prompt in (False, True):
                for tools in ([], [TOOL]):
                    variables = {"messages": messages, "add_generation_prompt": prompt,
                                 "bos_token": "<s>", "eos_token": "</s>",
                                 "date_string": "26 Jul 2024"}
                    if tools:
                        variables["tools"] = tools
                    cases.append({"name": f"{path.stem}/{name}/{int(prompt)}{len(tools)}",
                                  "template": path.name, "variables": variables,
                                  "text": render(source, variables)})
    return cases


VARIABLES = {
    "text": "Hello, W\u00f6rld", "empty": "", "lines": "one\n two\n\nthree ", "number": 7,
    "real": 2.5, "yes": True, "no": False, "null": None, "words": ["b", "a", "B", "c"],
    "numbers": [3, 1, 2, 3], "map": {"b": 1, "a": [1, {"x": None}], "items": "I"},
    "people": [{"name": "Eve", "age": 3}, {"name": "adam", "age": 30, "tags": ["x"]}],
}


class Generator:
    """Random expressions and templates; most are sensible, some are not."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *options):
        return self.random.choice(options)

    def atom(self):
        return self.pick(
            "text", "empty", "lines", "number", "real", "yes", "no", "null", "words", "numbers",
            "map", "people", "missing", "'a'", "\"it's\"", "'\\n\\u00e9\\x41'", "0", "3", "-2",
            "1.5", "1e3", "0x1f", "[]", "[1, 'two', 3.0]", "(1, 2)", "{}", "{'k': 1, 2: 'v'}",
            "true", "None", "people[0].name", "map.a[1].x", "map['b']", "words[-1]", "map.items",
            "text[1:4]", "words[::-1]", "numbers[:2]", "range(4)|list", "people[1]['age']")

    def typed(self, kind):
        return {
            "text": self.pick("text", "empty", "lines", "'ab cd'", "people[0].name", "words[0]",
                              "text[::-1]", "text[2:]"),
            "number": self.pick("number", "real", "3", "-2", "0", "people[0].age", "map.b",
                                "7.0", "1.25"),
            "list": self.pick("words", "numbers", "[1, 'x', none]", "people", "range(5)",
                              "words[1:]", "(3, 1)"),
        }[kind]

    def expression(self, depth):
        if depth <= 0:
            return self.atom()
        sub = lambda: self.expression(depth - 1)
        text = lambda: self.typed("text") if depth < 2 else self.text(depth - 1)
        number = lambda: self.typed("number")
        return self.pick(
            lambda: f"({sub()} {self.pick('and', 'or')} {sub()})",
            lambda: f"not {sub()}",
            lambda: f"({sub()} {self.pick('==', '!=', 'in', 'not in')} {sub()})",
            lambda: f"({number()} {self.pick('<', '<=', '>', '>=')} {number()} < 9)",
            lambda: f"({number()} {self.pick('+', '-', '*', '/', '//', '%', '**')} {number()})",
            lambda: f"({sub()} {self.pick('+', '*')} {sub()})",
            lambda: f"({sub()} ~ {sub()} ~ '|')",
            lambda: f"({sub()} if {sub()} else {sub()})",
            lambda: f"({sub()} if {sub()})",
            lambda: f"({sub()} is {self.pick('', 'not ')}{self.test()})",
            lambda: f"[{sub()}, {sub()}]",
            lambda: f"{{'a': {sub()}, {self.pick('1', 'number', 'text')}: {sub()}}}",
            lambda: f"{text()}",
            lambda: f"{self.sequence(depth - 1)}",
            lambda: f"({sub()})|{self.pick('string', 'tojson', 'length', 'default(5)', 'list', 'd(1, true)', 'tojson(indent=2)', 'int', 'float', 'first', 'trim', 'upper', 'title', 'capitalize', 'string|length')}",
            lambda: f"{self.typed('list')}[{self.pick('0', '-1', '1:', ':-1', '::2', '::-1', '-2:', '9', '1:9:2', '3:0:-1')}]",
        )()

    def test(self):
        return self.pick(
            "defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
            "mapping", "sequence", "iterable", "true", "false", "odd", "even", "divisibleby(3)",
            "eq 3", "in [1, 2]", "sameas none", "lower", "upper", "callable", "gt(2)", "equalto 'a'")

    def text(self, depth):
        base = self.typed("text")
        return self.pick(
            lambda: f"{base}.strip({self.pick('', repr('Hd '), 'none')})",
            lambda: f"{base}.{self.pick('lstrip', 'rstrip')}({self.pick('', repr(' eH'))})",
            lambda: f"{base}.split({self.pick('', repr(' '), repr('o'), 'none, 1', repr('l') + ', 1')})",
            lambda: f"{base}.rsplit({self.pick('none, 1', repr('l') + ', 1')})[0]",
            lambda: f"{base}.{self.pick('upper', 'lower', 'title', 'capitalize', 'splitlines', 'isdigit', 'isalpha', 'isspace', 'isupper', 'islower')}()",
            lambda: f"{base}.{self.pick('startswith', 'endswith', 'find', 'count', 'rfind')}({self.pick(repr('o'), repr('H'), repr(''), repr('two'))})",
            lambda: f"{base}.replace({self.pick(repr('o'), repr(''), repr('ab'))}, {self.pick(repr('0'), repr(''))}{self.pick('', ', 1')})",
            lambda: f"{base}|replace('l', 'LL')",
            lambda: f"{base}|indent({self.pick('', '2', '2, true', 'width=1, blank=true', repr('> '))})",
            lambda: f"{base}|{self.pick('trim', 'upper', 'lower', 'title', 'capitalize', 'length', 'list', 'first', 'last', 'reverse', 'int', 'float', 'wordcount', 'tojson', 'string')}",
            lambda: f"{self.pick(repr(', '), repr(''))}.join({self.pick('words', 'text', 'numbers', '[]')})",
            lambda: f"{base}[{self.pick('0', '-1', '1:3', '::-2', ':2', '99')}]",
            lambda: f"({base} ~ {self.expression(depth - 1)})",
            lambda: f"({base} + {self.typed('text')} * 2)",
            lambda: f"{base}.removeprefix('He').removesuffix('d')",
            lambda: f"{self.pick(repr('42'), repr(' -7 '), repr('4.7'), repr('x'), '3.9', 'true')}|{self.pick('int', 'float', 'int(9)', 'string')}",
        )()

    def sequence(self, depth):
        base = self.typed("list")
        return self.pick(
            lambda: f"{base}|join({self.pick('', repr('-'), repr(', '))})",
            lambda: f"people|map(attribute='{self.pick('name', 'age', 'tags', 'tags.0')}')|list",
            lambda: f"people|map(attribute='tags', default='none')|list",
            lambda: f"{base}|map('{self.pick('upper', 'string', 'tojson', 'length')}')|list",
            lambda: f"{base}|map('default', 'x')|join(',')",
            lambda: f"{base}|{self.pick('select', 'reject')}({self.pick('', repr('string'), repr('odd'), repr('none'), repr('in') + ', [1, 2]', repr('gt') + ', 1')})|list",
            lambda: f"people|{self.pick('selectattr', 'rejectattr')}('{self.pick('age', 'name', 'tags')}'{self.pick('', ', ' + repr('defined'), ', ' + repr('equalto') + ', 3', ', ' + repr('gt') + ', 5')})|list",
            lambda: f"{base}|{self.pick('sort', 'unique|list', 'reverse|list', 'list', 'first', 'last', 'length', 'min', 'max', 'sum', 'tojson', 'string', 'sort(reverse=true)', 'sort(case_sensitive=true)')}",
            lambda: f"people|{self.pick('sort', 'max', 'min')}(attribute='{self.pick('age', 'name')}')",
            lambda: f"people|sum(attribute='age')",
            lambda: f"map|{self.pick('dictsort', 'items|list', 'length', 'list', 'tojson', 'string', 'tojson(indent=4)', 'tojson(sort_keys=true)', 'dictsort(by=' + repr('value') + ')')}",
            lambda: f"people[0]|dictsort(reverse=true)",
            lambda: f"map.{self.pick('get(' + repr('b') + ')', 'get(' + repr('z') + ')', 'get(' + repr('z') + ', 3)', 'keys()|list', 'values()|list', 'b', 'z', 'a')}",
            lambda: f"{base} + {self.typed('list')}",
            lambda: f"numbers.{self.pick('index(1)', 'count(3)', 'index(9)')}",
            lambda: f"range({self.pick('3', '1, 9, 2', '5, 0, -2', '0')})|list",
            lambda: f"dict(a=1, b={self.expression(depth - 1)})",
            lambda: f"{self.pick('2.5', '3.14159', '-1.5', '7', '0.125')}|{self.pick('round', 'round(2)', 'abs', 'round(1, ' + repr('ceil') + ')', 'round(method=' + repr('floor') + ')')}",
        )()

    def space(self):
        return self.pick("", "", "", "\n", "  ", "\n  ", " \n\n", "x\n", "  y")

    def tag(self, inside):
        return "{%" + self.pick("", "", "-", "+") + f" {inside} " + self.pick("", "", "-", "+") + "%}"

    def output(self, expression):
        return "{{" + self.pick("", "", "-") + f" {expression} " + self.pick("", "", "-") + "}}"

    def body(self, depth, loop=False):
        return "".join(self.space() + self.statement(depth, loop) for _ in range(self.pick(1, 1, 2)))

    def statement(self, depth, loop):
        if depth <= 0:
            return self.pick(
                lambda: self.output(self.expression(1)),
                lambda: self.output(self.pick("v", "ns.n", "item", "loop.index") + "|default('-')"),
                lambda: "{#" + self.pick("", "-") + " note " + self.pick("", "-") + "#}",
                lambda: self.tag("set v = " + self.expression(1)),
                lambda: self.tag("set ns.n = ns.n + 1"),
                lambda: self.output("loop." + self.pick("index", "index0", "first", "last", "length",
                                                        "revindex", "revindex0", "previtem",
                                                        "nextitem|default('none')", "depth")),
                lambda: self.tag(self.pick("break", "continue")) if loop else "text",
                lambda: "plain { text } %} ",
            )()
        inner = lambda in_loop=loop: self.body(depth - 1, in_loop) + self.space()
        condition = lambda: self.expression(1)
        return self.pick(
            lambda: self.tag("if " + condition()) + inner() + self.tag("endif"),
            lambda: self.tag("if " + condition()) + inner() + self.tag("elif " + condition()) +
            inner() + self.tag("else") + inner() + self.tag("endif"),
            lambda: self.tag("for item in " + self.typed("list")) + inner(True) + self.tag("endfor"),
            lambda: self.tag("for item in " + self.typed("list") + " if item " +
                             self.pick("is string", "!= 'a'", "")) + inner(True) + self.tag("else") +
            inner() + self.tag("endfor"),
            lambda: self.tag("for k, item in map.items()") + self.output("k") + inner(True) +
            self.tag("endfor"),
            lambda: self.tag("macro m(a, b=2)") + self.output("a ~ b ~ v|default('?')") + inner(False) +
            self.tag("endmacro") + self.output(self.pick("m(1)", "m(b=1, a=2)", "m()", "m(1, 2)|upper")),
            lambda: self.tag("macro c(x)") + "<" + self.output("caller(x)") + ">" +
            self.tag("endmacro") + self.tag("call(y) c(5)") + self.output("y") + inner(False) +
            self.tag("endcall"),
            lambda: self.tag("filter " + self.pick("upper", "trim", "replace('e', 'E')|lower")) +
            inner(False) + self.tag("endfilter"),
            lambda: self.tag("set v" + self.pick("", " | trim")) + inner(False) + self.tag("endset") +
            self.output("v|tojson"),
            lambda: self.tag("with v = " + self.expression(1)) + inner() + self.tag("endwith"),
            lambda: self.tag("set v, w = 1, " + self.atom()) + self.output("v ~ w"),
            lambda: self.tag("raw") + self.space() + "{{ v }}" + self.space() + self.tag("endraw"),
        )()

    def template(self):
        if self.random.random() < 0.5:
            return "{{ " + self.expression(self.pick(1, 2, 2, 3)) + " }}"
        return ("{% set ns = namespace(n=0) %}" + self.body(self.pick(1, 2, 3)) + self.space() +
                self.pick("", "\n"))


# Python says these of objects that templates have no business printing.
UNPRINTABLE = ("<generator", "<bound", "<built-in", " at 0x", "range(", "<macro", "undefined",
               "<class", "<filter", "dict_", "<loop", "<loopcontext")


def random_cases(count, seed):
    generator = Generator(seed)
    cases, seen = [], set()
    while len(cases) < count:
        source = generator.template()
        if source in seen or len(source) > 400:
            continue
        seen.add(source)
        text = render(source, VARIABLES)
        if text is not None and (len(text) > 600 or any(bad in text.lower() for bad in UNPRINTABLE)):
            continue
        if text is None and generator.random.random() < 0.6:
            continue
        cases.append({"template": source, "text": text})
    return cases


def write(path, data):
    with open(path, "w", encoding="utf-8") as file:
        body = ",\n".join(json.dumps(case) for case in data.pop("cases"))
        head = json.dumps(data)[:-1]
        file.write(f"{head}, \"cases\": [\n{body}\n]}}\n")
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/data/chat")
    arguments = parser.parse_args()
    made_with = f"jinja2 {jinja2.__version__}"
    write(arguments.out / "families.json", {"made_with": made_with, "cases": family_cases()})
    write(arguments.out / "random.json",
          {"made_with": made_with, "seed": arguments.seed, "variables": VARIABLES,
           "cases": random_cases(arguments.count, arguments.seed)})


if __name__ == "__main__":
    main()
