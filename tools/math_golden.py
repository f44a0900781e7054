"""Judges pairs of answers with math-verify, as facts for tests/eval.

    python3 tools/math_golden.py tests/data/eval/math_answers.jsonl

Needs PyPI's math-verify 0.9.0. Groups of equal answers, and others that are near them: within a
group all pairs are equal, across its neighbours none; what math-verify says is what is stored.
"""

import itertools
import json
import sys

from math_verify import parse, verify

GROUPS = [
    ["42", "42.0", r"\frac{84}{2}", "6*7"], ["-7", r"-\frac{14}{2}", "-7.0"], ["073", "73"],
    [r"\frac{1}{2}", "0.5", r"\dfrac{1}{2}", r"\frac12", "1/2", r"\frac{2}{4}"],
    [r"\frac{2}{3}", r"\frac{4}{6}", "2/3"], [r"-\frac{3}{4}", r"\frac{-3}{4}", "-0.75"],
    [r"\sqrt{2}", r"\frac{2}{\sqrt{2}}", r"\sqrt{8}/2", r"2^{1/2}"],
    [r"2\sqrt{3}", r"\sqrt{12}", r"2 \cdot \sqrt{3}"], [r"3\sqrt{2}", r"\sqrt{18}"],
    [r"\pi", r"\frac{2\pi}{2}"], [r"\frac{\pi}{6}", r"\pi/6", r"\frac{1}{6}\pi"],
    ["2^{10}", "1024"], ["10^{3}", "1000"], ["3!", "6"],
    ["x+1", "1+x", r"\frac{2x+2}{2}"], ["x^2-1", "(x-1)(x+1)"], ["(x+1)^2", "x^2+2x+1"],
    ["2n-1", "n+n-1"], ["a^2b", "b a^2"], [r"\frac{n(n+1)}{2}", r"\frac{n^2+n}{2}"],
    ["1,2,3", "3,2,1"], [r"\{1,2,3\}", r"\{3,1,2\}"], [r"\{1,2\}", r"\{2,1\}"],
    ["(1,2)", r"\left(1,2\right)"], ["(2,1)", r"(2,\frac{2}{2})"], ["[0,1]", r"\left[0,1\right]"],
    ["[0,1)", r"[0, \frac{2}{2})"], ["(0,1)"], [r"(-\infty,2]"], [r"(-\infty,2)"],
    [r"(0,1)\cup(2,3)", r"(2,3)\cup(0,1)"], [r"[0,1]\cup[2,3]"],
    ["x=5", "5"], ["y=-3", "-3"], [r"1\pm\sqrt{2}", r"1+\sqrt{2},1-\sqrt{2}"],
    [r"\log_{2}{8}", "3"], [r"\ln{e}", "1"], [r"\sin{\frac{\pi}{6}}+2", "2.5"],
    ["i", r"\sqrt{-1}"], ["2+3i", "3i+2"], [r"|{-4}|", "4"], ["45^\\circ", "45"],
    ["0.125", r"\frac{1}{8}"], [r"1\frac{1}{3}"], [r"5\text{ cm}", "5.0"], ["2.5e", "2.5 e"],
]


def judge(gold, answer):
    return bool(verify(parse(f"${gold}$"), parse(f"${answer}$")))


def main():
    pairs = []
    for group in GROUPS:
        pairs += list(itertools.product(group, group))
    heads = [group[0] for group in GROUPS]
    for step in (1, 2, 3, 5):
        pairs += list(zip(heads, heads[step:]))
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for gold, answer in pairs:
            line = {"gold": gold, "answer": answer, "same": judge(gold, answer)}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
