#!/usr/bin/env python3
"""Tables of head training: gates x chains x losses, each cell trained and judged.

    python3 bench/train_tables.py needle --program build/cpu-release/bin/lycheedecode
    python3 bench/train_tables.py model --model smollm2 --train A.txt B.txt --test C.txt \\
        --retrieval-heads 22 --steps 300 --length 2048 --budget 256

`needle` trains on the built-in model, whose retrieval heads are known by construction, with its
circuit in several places, and counts the seeds whose plan is exactly the true one. `model` trains
on a real model and evaluates every plan beside uniform:N and random:N:SEED with `eval`. Runs are
kept under --out, and a run that is there already is not repeated.
"""

import argparse
import itertools
import json
import pathlib
import subprocess

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


def roles(text):
    return [[int(float(value)) for value in line.split()] for line in text.splitlines()]


def train(args, folder, flags):
    """The plan folder and the result of a training run, done now or before."""
    result = folder / "result.json"
    if not result.exists():
        command = [args.program, "train-heads", "--json", "--threads", str(args.threads),
                   "--out", str(folder), *flags]
        if folder.exists():
            command.append("--resume")
        answer = run_json(command)
        result.write_text(json.dumps(answer))
    return json.loads(result.read_text())


def cells(args):
    return itertools.product(args.gates, args.chains, args.losses)


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


def evaluate(args, plans):
    texts = [flag for path in args.test for flag in ("--text-file", path)]
    answer = run_json([
        args.program, "eval", *args.tasks, "--json", "--together", "--threads", str(args.threads),
        "--model", args.model, "--lengths", str(args.length), "--samples", str(args.samples),
        "--policies", "dense,hybrid", "--heads", ",".join(plans), "--budgets", str(args.budget),
        "--sink", str(args.sink), "--recent", str(args.recent), *texts])
    return answer["rows"]


def model_tables(args):
    count = args.retrieval_heads
    plans = [f"uniform:{count}"] + [f"random:{count}:{seed}" for seed in range(1, args.random + 1)]
    undecided = {}
    texts = [flag for path in args.train for flag in ("--text-file", path)]
    for gate, chain, loss in cells(args):
        folder = args.out / f"model-{gate}-{chain}-{loss}"
        answer = train(args, folder, [
            "--model", args.model, *texts, "--gate", gate, "--chain", chain, "--loss", loss,
            "--retrieval-heads", str(count), "--steps", str(args.steps or 300), "--lr", "0.03",
            "--budget", str(args.budget), "--sink", str(args.sink), "--recent", str(args.recent),
            "--context-max", str(args.length)])
        plans.append(str(folder))
        undecided[str(folder)] = answer["undecided"]
    print("| task | plan | score | 95 % | KL | undecided |\n" + "| --- " * 6 + "|")
    for row in evaluate(args, plans):
        plan = row.get("heads") or row["policy"]
        kl = row.get("metrics", {}).get("kl", "")
        print(f"| {row['task']} | {plan} | {row['score']:.3f} | {row['ci_low']:.3f}–"
              f"{row['ci_high']:.3f} | {kl} | {undecided.get(plan, '')} |")


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
    parser.add_argument("--seeds", type=int, default=10, help="needle: runs per cell")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--train", nargs="+", default=[], help="texts to train on")
    parser.add_argument("--test", nargs="+", default=[], help="texts to evaluate on")
    parser.add_argument("--tasks", nargs="+", default=["perplexity", "needle", "phrase"])
    parser.add_argument("--retrieval-heads", type=int, default=22)
    parser.add_argument("--random", type=int, default=5, help="random plans to compare with")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--budget", type=int, default=256)
    parser.add_argument("--sink", type=int, default=16)
    parser.add_argument("--recent", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    (needle_tables if args.table == "needle" else model_tables)(args)


if __name__ == "__main__":
    main()
