"""Turns the rows of `eval --out FOLDER` into Markdown tables, as docs/quality.md holds them.

    python3 tools/quality_table.py FOLDER…

A table per folder and length: a line per task, a column per setting; below it the share of K and V
that each setting read, and what the run cost.
"""

import json
import pathlib
import sys


def setting(row):
    parts = [row["policy"], row["heads"], row["budget"] and str(row["budget"])]
    return " ".join(part for part in parts if part)


def mean(values):
    return sum(values) / len(values)


def table(rows):
    settings = list(dict.fromkeys(setting(row) for row in rows))
    cells = {(row["task"], setting(row)): row for row in rows}
    yield "| task | " + " | ".join(settings) + " |"
    yield "| --- |" + " --- |" * len(settings)
    for task in dict.fromkeys(row["task"] for row in rows):
        scale = 1 if task == "perplexity" else 100
        found = [cells.get((task, name)) for name in settings]
        scores = [f"{scale * row['score']:.1f}" if row else "" for row in found]
        yield f"| {task} | " + " | ".join(scores) + " |"
    reads = [mean([row["kv_read"] for row in rows if setting(row) == name]) for name in settings]
    yield "| *K and V read* | " + " | ".join(f"{read:.2f}" for read in reads) + " |"


def main():
    for folder in sys.argv[1:]:
        report = json.loads(pathlib.Path(folder, "rows.json").read_text(encoding="utf-8"))
        for length in dict.fromkeys(row["length"] for row in report["rows"]):
            rows = [row for row in report["rows"] if row["length"] == length]
            samples = sorted({row["samples"] for row in rows})
            print(f"**{length} tokens**, samples of each task: {', '.join(map(str, samples))}\n")
            print("\n".join(table(rows)) + "\n")
        totals = report["totals"]
        print(f"{totals['prompts']} prompts, {totals['prefilled_tokens']} tokens prefilled in "
              f"{totals['prefill_seconds']:.0f} s, {totals['answers']} answers decoded in "
              f"{totals['decode_seconds']:.0f} s, {totals['shared_tokens']} tokens not prefilled again.\n")


if __name__ == "__main__":
    main()
