#!/usr/bin/env python3
"""Tables of head training: gates x chains x losses, each cell trained and judged.

    python3 bench/train_tables.py needle --program build/cpu-release/bin/lycheedecode
    python3 bench/train_tables.py model --model smollm2 --train A.txt B.txt --test C.txt \\
        --retrieval-heads 22 --steps 80 --contexts 512 1024 --length 1024 --budget 128

`needle` trains on the built-in model, whose retrieval heads are known by construction, with its
circuit in several places, and counts the seeds whose plan is exactly the true one. `model` trains
on a real model and evaluates every plan beside uniform:N and random:N:SEED with `eval`, all plans on
the same prompts and at every one of --budgets; --plans adds plans that exist. Runs are kept under --out: one that is there already is not repeated, and one that
was interrupted goes on. After --minutes no training begins any more; the table has what was trained.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import sys
import time

GATES = ["hardkuma", "hard-concrete", "direct"]
CHAINS = ["inference", "published"]
LOSSES = ["kl", "hidden", "logits"]
NEEDLES = [
    "builtin:needle",
    "builtin:needle?layer=2&head=3",
    "builtin:needle?layers=8&kv_heads=4&layer=5&head=0",
    "builtin:needle?layers=7&layer=5&head=2&distractors=6",
]


def run_json(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def note(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def roles(text):
    return [[int(float(value)) for value in line.split()] for line in text.splitlines()]


def machine(args):
    return ["--device", args.device, "--threads", str(args.threads)]


def train(args, folder, flags):
    """The plan folder and the result of a training run, done now or before."""
    result = folder / "result.json"
    if not result.exists():
        command = [args.program, "train-heads", "--json", *machine(args), "--out", str(folder),
                   *flags]
        if folder.exists():
            command.append("--resume")
        answer = run_json(command)
        result.write_text(json.dumps(answer))
    return json.loads(result.read_text())


def cells(args):
    """The losses one after the other, so that a run that is cut short has whole tables."""
    order = itertools.product(args.losses, args.chains, args.gates)
    return [(gate, chain, loss) for loss, chain, gate in order]


def needle_tables(args):
    print("| gate | chain | loss | " + " | ".join(NEEDLES) + " | undecided |")
    print("| --- " * (4 + len(NEEDLES)) + "|")
    for gate, chain, loss in cells(args):
        row, undecided = [], []
        for number, model in enumerate(NEEDLES):
            shown = run_json([args.program, "inspect", "--json", "--model", model,
                              "--heads", "builtin"])
            found = 0
            for seed in range(args.seeds):
                folder = args.out / f"needle{number}-{gate}-{chain}-{loss}-{seed}"
                answer = train(args, folder, [
                    "--model", model, "--data", "needle", "--context-min", "150",
                    "--context-max", "220", "--context-reuse", "1", "--budget", "48",
                    "--sink", "4", "--recent", "12", "--steps", str(args.steps or 60),
                    "--lr", "0.05", "--gate", gate, "--chain", chain, "--loss", loss,
                    "--retrieval-heads", str(shown["num_retrieval"]), "--seed", str(seed)])
                found += roles((folder / "head_roles.tsv").read_text()) == shown["roles"]
                undecided.append(answer["undecided"])
            row.append(f"{found}/{args.seeds}")
        print(f"| {gate} | {chain} | {loss} | " + " | ".join(row) +
              f" | {sum(undecided) / len(undecided):.2f} |", flush=True)


def evaluate(args, task, plans):
    """Rows of `eval` by plan and budget; dense is the plan "dense", at every budget."""
    texts = [flag for path in args.test for flag in ("--text-file", path)]
    samples = args.phrase_samples if task == "phrase" else args.samples
    command = [
        args.program, "eval", task, "--json", "--together", *machine(args), "--model", args.model,
        "--lengths", str(args.length), "--samples", str(samples),
        "--policies", "dense,hybrid", "--heads", ",".join(plans), "--budgets",
        ",".join(map(str, args.budgets)), "--sink", str(args.sink), "--recent", str(args.recent),
        *texts]
    if task == "perplexity":
        command += ["--decode-tokens", str(args.decode_tokens)]
    if args.max_cache_tokens:
        command += ["--max-cache-tokens", str(args.max_cache_tokens)]
    kept = args.out / f"eval-{task}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    if known.get("command") != command:
        note(f"evaluating {len(plans)} plans: {task}")
        known = {"command": command, "rows": run_json(command)["rows"]}
        kept.write_text(json.dumps(known))
    rows = {}
    for row in known["rows"]:
        for budget in [row["budget"]] if row.get("heads") else args.budgets:
            rows[row.get("heads") or row["policy"], budget] = row
    return rows


def train_cells(args):
    """Results of training by folder."""
    texts = [flag for path in args.train for flag in ("--text-file", path)]
    begin = time.monotonic()
    results = {}
    wanted = cells(args)
    for number, (gate, chain, loss) in enumerate(wanted, 1):
        if args.minutes and time.monotonic() - begin > 60 * args.minutes:
            note(f"{args.minutes} minutes are over; {len(wanted) - number + 1} cells are left out")
            break
        folder = args.out / f"model-{gate}-{chain}-{loss}"
        note(f"cell {number} of {len(wanted)}: {gate}, {chain}, {loss}")
        results[str(folder)] = train(args, folder, [
            "--model", args.model, *texts, "--gate", gate, "--chain", chain, "--loss", loss,
            "--retrieval-heads", str(args.retrieval_heads), "--steps", str(args.steps or 300),
            "--lr", str(args.lr), "--budget", str(args.budget), "--sink", str(args.sink),
            "--recent", str(args.recent), "--context-min", str(args.contexts[0]),
            "--context-max", str(args.contexts[1]), "--context-reuse", str(args.context_reuse),
            "--text-rows", str(args.text_rows), "--phrases", str(args.phrases),
            "--phrase-words", str(args.phrase_words)])
    return results


def cell_text(task, row):
    if task == "perplexity":
        return f"{row['kl']:.4f}"
    if task == "phrase":
        return f"{100 * row['words']:.1f}"
    return f"{100 * row['score']:.1f} ({100 * row['ci_low']:.0f}–{100 * row['ci_high']:.0f})"


def model_tables(args):
    count = args.retrieval_heads
    trained = train_cells(args)
    plans = [f"uniform:{count}"] + [f"random:{count}:{seed}" for seed in range(1, args.random + 1)]
    plans += args.plans + list(trained)
    rows = {task: evaluate(args, task, plans) for task in args.tasks}
    names = {"perplexity": "KL", "phrase": "phrase, words"}
    columns = [(task, budget) for task in args.tasks for budget in args.budgets]
    heads = [f"{names.get(task, task)}, {budget}" for task, budget in columns]
    print("| plan | " + " | ".join(heads) + " | undecided | s a step |")
    print("| --- " * (3 + len(heads)) + "|")
    for plan in ["dense", *plans]:
        name = pathlib.Path(plan).name.removeprefix("model-")
        result = trained.get(plan)
        extra = [f"{100 * result['undecided']:.0f} %", f"{result['seconds_per_step']:.2f}"] \
            if result else ["", ""]
        cells_of_row = ["" if task == "perplexity" and plan == "dense"
                        else cell_text(task, rows[task][plan, budget])
                        for task, budget in columns]
        print(f"| {name} | " + " | ".join(cells_of_row + extra) + " |")
    for part in next(iter(trained.values()), {}).get("split_seconds", {}):
        seconds = [result["split_seconds"][part] for result in trained.values()]
        print(f"{part}: {sum(seconds) / len(seconds):.3f} s a step on average")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["needle", "model"])
    parser.add_argument("--program", default="build/cpu-release/bin/lycheedecode")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("train-tables"))
    parser.add_argument("--gates", nargs="+", default=GATES, choices=GATES)
    parser.add_argument("--chains", nargs="+", default=CHAINS, choices=CHAINS)
    parser.add_argument("--losses", nargs="+", default=["kl", "hidden"], choices=LOSSES)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lr", type=float, default=0.03, help="model: peak learning rate")
    parser.add_argument("--seeds", type=int, default=10, help="needle: runs per cell")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--train", nargs="+", default=[], help="texts to train on")
    parser.add_argument("--test", nargs="+", default=[], help="texts to evaluate on")
    parser.add_argument("--tasks", nargs="+", default=["perplexity", "needle", "phrase"])
    parser.add_argument("--retrieval-heads", type=int, default=22)
    parser.add_argument("--random", type=int, default=5, help="random plans to compare with")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--budget", type=int, default=256, help="that is trained with")
    parser.add_argument("--budgets", nargs="+", type=int, help="that are evaluated; default: --budget")
    parser.add_argument("--plans", nargs="+", default=[], help="further plans to evaluate")
    parser.add_argument("--sink", type=int, default=16)
    parser.add_argument("--recent", type=int, default=64)
    parser.add_argument("--contexts", nargs=2, type=int, default=[1024, 2048],
                        metavar=("MIN", "MAX"), help="tokens of the contexts trained on")
    parser.add_argument("--context-reuse", type=int, default=4)
    parser.add_argument("--text-rows", type=int, default=128)
    parser.add_argument("--phrases", type=int, default=5)
    parser.add_argument("--phrase-words", type=int, default=16)
    parser.add_argument("--samples", type=int, default=8, help="of tasks but phrase")
    parser.add_argument("--phrase-samples", type=int, default=2, help="each asks ten phrases")
    parser.add_argument("--decode-tokens", type=int, default=64, help="of perplexity")
    parser.add_argument("--max-cache-tokens", type=int,
                        help="of an evaluation; default: what memory allows")
    parser.add_argument("--minutes", type=float, help="of training; later cells are left out")
    args = parser.parse_args()
    args.budgets = args.budgets or [args.budget]
    args.out.mkdir(parents=True, exist_ok=True)
    (needle_tables if args.table == "needle" else model_tables)(args)


if __name__ == "__main__":
    main()
