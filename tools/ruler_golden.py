"""Scores hand-made answers with RULER's own string matches, as facts for tests/eval.

    python3 tools/ruler_golden.py FOLDER tests/data/eval/ruler_matches.jsonl

FOLDER is the one of RULER's scripts/eval (github.com/NVIDIA/RULER). Answers are written by hand and
varied: other case, cut, glued, wrapped in white space and control characters. evaluate.py needs much
that scoring does not, so of it the one function that prepares an answer is run.
"""

import ast
import json
import pathlib
import random
import re
import sys

REFERENCES = [
    "7284615", "3f2b9c1e-7d44-4a0b-9e55-0c1d2e3f4a5b", "VWXYZ", "apple", "Apple Pie", "apple pie crust", "a", "",
    " ", " spaced ", "two\nlines", "tab\tbed", "naïve café", "NAI\u0308VE", "Straße", "STRASSE", "ΟΔΟΣ", "οδος",
    "οδοσ", "Σίσυφος", "ΑΣ'Β", "İstanbul", "istanbul", "ıssız", "ПРИВЕТ", "Ёлка", "東京タワー", "ＡＢＣ", "ǅungla", "ԱՐԵՎ",
    "ⅯⅭⅯ", "\u212b", "ﬀect", "100%", "C:\\temp\\*.txt", "(x+y)^2", "\"quoted\"", "don't", "don\u2019t", "e\u0301t\u00e9",
    "\U0001f600!", "𐐀𐐁", "line\x0bfeed", "\x00", "end\u00a0", "\u3000wide", "ẞ", "Ⓐ", "ქართული", "ᲥᲐᲠᲗᲣᲚᲘ",
]
ANSWERS = [
    "", " ", "\n\n", "\x00", "The number is 7284615.", "7284615", "7 284 615", "72846155", "The answer: VWXYZ, vwx",
    "Apple pie crust, apple PIE and apples.", "ΟΔΟΣ", "Η ΟΔΟΣ ΕΊΝΑΙ", "ΟΔΟΣΑ", "ΣΊΣΥΦΟΣ.", "ΑΣ'Β ΑΣ' ΑΣ:", "Σ", "ΑΣ\u0301", "İSTANBUL'DA",
    "ISTANBUL", "ISSIZ ıssız", "привет, ёлка", "とうきょう 東京タワー!", "ａｂｃ abc", "ǆUNGLA ǇUBAV", "արև", "ⅿⅽⅿ", "Å å \u212b",
    "ﬀECT FFECT", "it is 100 % or 100%", "c:\\TEMP\\*.TXT", "(X+Y)^2", "“quoted” \"QUOTED\"", "DON'T DON\u2019T", "ÉTÉ e\u0301te\u0301",
    "\U0001f600 \U0001f600!", "𐐨𐐩 𐐀𐐁", "line\x0bfeed line\nfeed", "two\r\nlines two\tlines two\x1flines", "tab\tbed tab\nbed",
    "\x07\x1b[31m 7284615\x1b[0m\x7f", "\u0085\u00a0 apple \u2028", "end\u00a0", "\u3000wide", "  spaced  ", "straße STRASSE ẞ ß", "Ⓐ ⓐ ᲥᲐᲠᲗᲣᲚᲘ ქართული",
    "\ufeffapple", "a\u200bpple", "3F2B9C1E-7D44-4A0B-9E55-0C1D2E3F4A5B", "apple\x00pie", "\x1capple\x1d pie\x1e",
]


def prepare_function(folder):
    """evaluate.py's postprocess_pred, without what the rest of that file imports."""
    tree = ast.parse((folder / "evaluate.py").read_text(encoding="utf-8"))
    wanted = [node for node in tree.body
              if isinstance(node, ast.FunctionDef) and node.name == "postprocess_pred"]
    space = {"re": re}
    exec(compile(ast.Module(wanted, []), "evaluate.py", "exec"), space)
    return space["postprocess_pred"]


def vary(rng, text):
    kind = rng.randrange(9)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return text.lower()
    if kind == 2:
        return text.swapcase()
    if kind == 3:
        return text[: rng.randrange(len(text) + 1)]
    if kind == 4:
        return rng.choice(["\n", "\t \x00", "\u3000\x1f", "\x85"]) + text + rng.choice(["\r\n", "\x0b", " \x01 ", "\u2003"])
    if kind == 5:
        return "x" + text + "y"
    if kind == 6:
        return text.replace(" ", rng.choice(["\t", "\x02", "  ", "\u00a0"]))
    if kind == 7:
        return text + rng.choice(ANSWERS)
    return text


def cases(rng):
    """Answers and the references of each; a score is the mean over the answers of a case."""
    for reference in REFERENCES:
        for answer in rng.sample(ANSWERS, 2) + [reference, vary(rng, vary(rng, reference))]:
            yield [answer], [[reference]]
    for answer in ANSWERS:
        found = [one for one in REFERENCES if one.lower() in answer.lower()] or ["apple"]
        chosen = rng.sample(found, min(2, len(found))) + rng.sample(REFERENCES, rng.randrange(4))
        yield [answer], [chosen + chosen[: rng.randrange(2)]]
    for _ in range(120):
        size = rng.randrange(1, 5)
        references = [rng.sample(REFERENCES, rng.randrange(1, 6)) for _ in range(size)]
        answers = [vary(rng, " ".join(rng.sample(some, rng.randrange(len(some) + 1))) + rng.choice(ANSWERS))
                   for some in references]
        yield answers, references


def main():
    folder = pathlib.Path(sys.argv[1])
    sys.path.insert(0, str(folder / "synthetic"))
    import constants
    prepare = prepare_function(folder)
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for answers, references in cases(random.Random(1)):
            clean = [prepare(answer, {}) for answer in answers]
            line = {"answers": answers, "references": references,
                    "all": constants.string_match_all(clean, references),
                    "part": constants.string_match_part(clean, references)}
            out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
